// Parses KQL with Microsoft's language service and binds its names to the columns of the tables: a finding a line.
// node check_kql.js tables.json < queries.json ({"name": "KQL text", …})
const fs = require('fs'), path = require('path'), vm = require('vm');

// The package is written for a browser: its two files define globals.
const folder = path.dirname(require.resolve('@kusto/language-service-next/package.json', {paths: [process.cwd()]}));
for (const file of ['bridge.min.js', 'Kusto.Language.Bridge.min.js'])
  vm.runInThisContext(fs.readFileSync(path.join(folder, file), 'utf8'), {filename: file});

const {Language} = Kusto, {TableSymbol, DatabaseSymbol} = Language.Symbols;
const columnsOf = (columns) => Object.entries(columns).map(([name, type]) => `${name}: ${type}`).join(', ');
const tables = Object.entries(JSON.parse(fs.readFileSync(process.argv[2], 'utf8')))
  .map(([name, columns]) => new TableSymbol.$ctor7(name, `(${columnsOf(columns)})`, null));
const globals = Language.GlobalState.Default.WithDatabase(new DatabaseSymbol.$ctor1('workspace', tables, false));

for (const [name, text] of Object.entries(JSON.parse(fs.readFileSync(0, 'utf8')))) {
  const diagnostics = Language.KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  for (let i = 0; i < diagnostics.Count; i++) {
    const found = diagnostics.getItem(i);
    console.log(`${name}: ${found.Severity} at ${found.Start}: ${found.Message}`);
  }
}
