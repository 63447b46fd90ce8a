// The function key with which runs of the factory call the app, and the doctor tries the way of alerts: fetched here, kept
// in the app's settings, shown nowhere.
@description('Name of the app.')
param appName string
@description('All its other settings: Azure replaces the whole list at once. Addresses of people are among them.')
@secure()
param settings object

resource app 'Microsoft.Web/sites@2024-11-01' existing = {
  name: appName
}

resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(settings, {
    EBB_CALLBACK_KEY: listKeys('${app.id}/host/default', '2024-11-01').functionKeys.default
  })
}
