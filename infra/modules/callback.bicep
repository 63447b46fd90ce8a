// The keys of three functions: runs of the factory call slice_validate with one, the doctor tries the way of alerts with
// another, and the third is asked for by applying and retiring, beside a key of the host. None opens another route. They are fetched here, kept in the app's settings, and shown nowhere.
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
    EBB_ALERT_KEY: listKeys('${app.id}/functions/alerts', '2024-11-01').default
    EBB_OPERATOR_KEY: listKeys('${app.id}/functions/retirement_change', '2024-11-01').default
    EBB_CALLBACK_KEY: listKeys('${app.id}/functions/slice_validate', '2024-11-01').default
  })
}
