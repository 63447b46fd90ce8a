// Starts one cosmosdb-server on a free loopback port; it meters nothing and checks no key: the meter in front does.
//
// usage: node server.js NODE_MODULES_DIR [OPTIONS]     (prints {"port": N}; exits when its stdin closes)
// OPTIONS is JSON; the defaults are below (aggregatePageDocuments 0: a number comes in one page).
"use strict";

const path = require("path");

const defaults = {
  fullLastPageHasToken: true,
  aggregatePageDocuments: 500,
  keysHaveIdentity: true,
  documentsExpire: true
};
const options = { ...defaults, ...JSON.parse(process.argv[3] || "{}") };
const modules = path.resolve(process.argv[2] || "node_modules");
const server_lib = path.join(modules, "@vercel", "cosmosdb-server", "lib");
const query_lib = path.dirname(
  require.resolve("@zeit/cosmosdb-query", { paths: [server_lib] })
);

const Documents = require(path.join(server_lib, "account", "documents.js")).default;
const readItems = require(path.join(server_lib, "handler", "_read-items.js"));
const deleteDocument = require(path.join(server_lib, "handler", "delete-document.js"));
const partitionHeader = require(path.join(server_lib, "utils", "get-partition-from-header.js"));
const parseQuery = require(query_lib).default;
const helpers = require(path.join(query_lib, "helpers.js"));
const aggregates = require(path.join(query_lib, "aggregate-functions.js"));

// Azure Cosmos DB answers at most 4 MB a page; the envelope takes a little of it.
const PAGE_BYTES_MAX = 4 * 1024 * 1024 - 1024;
const PAGE_ITEMS_DEFAULT = 100;
const PAGE_ITEMS_DYNAMIC = 1000;
// Longer than any client keeps an idle connection, so that the server never closes one under a request.
const KEEP_ALIVE_MS = 10 * 60 * 1000;
// Query texts that the meter's query plan asked the SDK to send to each partition.
const MARK_AGGREGATE = "/*sandbox:aggregate*/";
const MARK_ORDER_BY = "/*sandbox:orderby*/";

// _rid -> {ordinal, bytes}. The server's own _rid is little endian and base64, so comparing it as a
// string (as the server does to page) is not an order: pages would repeat and skip documents.
const known = new Map();
const texts = new WeakMap();
// The SDK reads any token that is base64 of JSON with a "v" as one of its own: the colon prevents that.
const TOKEN_MARK = "RID:";
let matched = null;
let mark = null;

// The server ends every answer with JSON.stringify(body); here that gives the text made when the
// document was stored. ToString() in a query calls it too and needs a string.
const stringify = JSON.stringify;
let querying = false;
JSON.stringify = (value, ...rest) => {
  const text = value !== null && typeof value === "object" ? texts.get(value) : undefined;
  if (text === undefined || rest.length > 0) return stringify(value, ...rest);
  return querying ? text.toString() : text;
};

const textOf = value => texts.get(value) || Buffer.from(stringify(value === undefined ? null : value));

Documents.prototype._set = function set(data) {
  if (Number.isInteger(data.__sandbox_ts)) {
    data._ts = data.__sandbox_ts;
    delete data.__sandbox_ts;
  }
  Object.getPrototypeOf(Documents.prototype)._set.call(this, data);
  const text = Buffer.from(stringify(data));
  const before = known.get(data._rid);
  known.set(data._rid, { ordinal: before ? before.ordinal : this._ridCount, bytes: text.length });
  texts.set(data, text);
  noteExpiry(this, data);
  return data;
};

// The server takes a missing key, null, "", 0 and false for one, and of a hierarchical key the first part only.
if (options.keysHaveIdentity) {
  const parseKey = partitionHeader.parsePartitionKey;
  partitionHeader.parsePartitionKey = (header, id) => {
    const parts = JSON.parse(header);
    return Array.isArray(parts) && parts.length > 0 ? stringify(parts) : parseKey(header, id);
  };
  const partitionOf = Documents.prototype._getPartition;
  Documents.prototype._getPartition = function getPartition(data) {
    const paths = this._partitionKeyPath;
    if (paths.length === 0 || paths[0] === "/_partitionKey") return partitionOf.call(this, data);
    const parts = paths.map(each => valueAt(data, each.slice(1).split("/")));
    return stringify(parts.map(part => (part === undefined ? {} : part)));
  };
}

// Documents whose time is set: _rid -> what to take them out of, and when.
const expiring = new Map();
const EXPIRY_MS = 250;

function noteExpiry(documents, data) {
  const collection = documents._parent.read();
  const usual = options.documentsExpire && collection ? collection.defaultTtl : undefined;
  const ttl = Number.isInteger(data.ttl) ? data.ttl : usual;
  expiring.delete(data._rid);
  if (usual !== undefined && usual !== null && ttl > 0) {
    expiring.set(data._rid, { documents, data, atMs: (data._ts + ttl) * 1000 });
  }
}

setInterval(() => {
  for (const [rid, { documents, data, atMs }] of expiring) {
    if (atMs > Date.now()) continue;
    expiring.delete(rid);
    const item = documents._data.get(rid);
    if (item && item.read() === data) documents.delete(data.id, documents._getPartition(data));
  }
}, EXPIRY_MS).unref();

// Replacing must not move a document to the end of the map: reading order is creation order.
Documents.prototype.replace = function replace(data, original) {
  this._replacing = true;
  try {
    return Object.getPrototypeOf(Documents.prototype).replace.call(this, data, original);
  } finally {
    this._replacing = false;
  }
};

const deleteItem = Documents.prototype.delete;
Documents.prototype.delete = function remove(id, partition) {
  const data = this._item("/id", id, partition).read();
  const entries = this._data;
  if (this._replacing) this._data = { delete: () => false, get: rid => entries.get(rid) };
  try {
    deleteItem.call(this, id, partition);
  } finally {
    this._data = entries;
  }
  if (!this._replacing) known.delete(data._rid);
};

const BOUND = /\b\w+\._ts\s*(>=|<=|<|>|=)\s*(@\w+|\d+)/gi;

// Reading a page must not cost a walk of the query's predicate over every document, so a plain
// conjunction's bounds on _ts are applied first; the query itself still decides.
function candidates(documents, text, parameters) {
  if (!/\bWHERE\b/i.test(text) || /\b(OR|NOT|EXISTS|JOIN)\b|!|\?/i.test(text)) return documents;
  const values = new Map((parameters || []).map(p => [p.name, p.value]));
  let low = -Infinity;
  let high = Infinity;
  for (const [, operator, operand] of text.matchAll(BOUND)) {
    const value = operand[0] === "@" ? values.get(operand) : Number(operand);
    if (typeof value !== "number") return documents;
    if (operator !== "<" && operator !== "<=") low = Math.max(low, value);
    if (operator !== ">" && operator !== ">=") high = Math.min(high, value);
  }
  if (low === -Infinity && high === Infinity) return documents;
  return documents.filter(d => d._ts >= low && d._ts <= high);
}

// Azure Cosmos DB ends a page by time, so a number over many documents comes in parts that the SDK merges.
const AGGREGATE = /^\s*SELECT\s+VALUE\s+(COUNT|MIN|MAX|SUM)\s*\(/i;
function aggregatePart(text, documents, place) {
  const most = options.aggregatePageDocuments;
  if (!most || !AGGREGATE.test(text)) return [documents, null];
  const after = place ? place.part : -1;
  const left = documents.filter(d => ordinalOf(d._rid, 0) > after);
  const part = left.slice(0, most);
  return [part, left.length > most ? ordinalOf(part[most - 1]._rid, 0) : null];
}

// The server ignores the partition key of a query and would answer from every logical partition.
function inPartition(documents, paths, key) {
  if (!key || key.length === 0) return documents;
  const keyPaths = paths.map(p => p.slice(1).split("/"));
  return documents.filter(d =>
    key.every((wanted, i) => {
      const seen = valueAt(d, keyPaths[i]);
      return wanted !== null && typeof wanted === "object" ? seen === undefined : seen === wanted;
    })
  );
}

// cosmosdb-query copies the whole array once per document ([...$, {c}]): quadratic, so it is rewritten.
const QUADRATIC = /\$c\.reduce\(\(\$, (\w+)\) => typeof \1 !== "undefined" \? \[\.\.\.\$, \{\s*\1: \1\s*\}\] : \$, \[\]\)/g;
const Query = Object.getPrototypeOf(parseQuery("SELECT * FROM c"));
const { get: codeOf } = Object.getOwnPropertyDescriptor(Query, "code");
Object.defineProperty(Query, "code", {
  get() {
    if (!this._linear) this._linear = codeOf.call(this).replace(QUADRATIC, "$c.map($1 => ({ $1 }))");
    return this._linear;
  }
});

Documents.prototype.query = function query(params, { maxItemCount, continuation }) {
  const parent = this._parent.read();
  if (!parent) return null;
  matched = null;
  querying = true;
  mark = [MARK_AGGREGATE, MARK_ORDER_BY].find(m => params.query.startsWith(m)) || null;
  const text = mark ? params.query.slice(mark.length) : params.query;
  const all = Array.from(this._data.values(), item => item.read());
  const key = continuation ? continuation.key : null;
  const meant = candidates(inPartition(all, this._partitionKeyPath, key), text, params.parameters);
  const [documents, partEnd] = aggregatePart(text, meant, continuation ? continuation.place : null);
  try {
    const answer = this._getQuery(text).exec(documents, {
      parameters: params.parameters,
      udf: this._userDefinedFunctions(),
      maxItemCount,
      continuation: AGGREGATE.test(text) ? { place: null, key } : continuation,
      compositeIndexes: (parent.indexingPolicy || {}).compositeIndexes || []
    });
    answer.matched = matched;
    if (partEnd !== null) answer.continuation = { part: partEnd };
    if (mark === MARK_AGGREGATE) answer.result = answer.result.map(item => [{ item }]);
    return answer;
  } catch (err) {
    err.badRequest = true;
    throw err;
  } finally {
    querying = false;
    mark = null;
  }
};
Documents.prototype.read = function read(options) {
  return this.query({ query: "SELECT * FROM c", parameters: [] }, options);
};

const removeDocument = deleteDocument.default;
deleteDocument.default = (account, req, res, params) => {
  const key = partitionHeader.parsePartitionKey(req.headers["x-ms-documentdb-partitionkey"], params.docId);
  const data = account.database(params.dbId).collection(params.collId).document(params.docId, key).read();
  if (data && known.has(data._rid)) {
    res.setHeader("x-sandbox-loaded-bytes", String(known.get(data._rid).bytes));
  }
  return removeDocument(account, req, res, params);
};

for (const name of Object.keys(aggregates)) {
  const aggregate = aggregates[name];
  if (typeof aggregate === "function") {
    aggregates[name] = rows => {
      matched = rows.length;
      return aggregate(rows);
    };
  }
}

const RANKS = ["undefined", "null", "boolean", "number", "string", "array", "object"];
const rankOf = v =>
  RANKS.indexOf(v === null ? "null" : Array.isArray(v) ? "array" : typeof v);
function compareValues(a, b) {
  const rank = rankOf(a) - rankOf(b);
  if (rank !== 0) return rank;
  if (a === b || rankOf(a) > 4) return 0;
  return a < b ? -1 : 1;
}
const valueAt = (row, keys) =>
  keys.reduce((v, key) => (v !== null && typeof v === "object" ? v[key] : undefined), row);
const ordinalOf = (rid, fallback) => (known.has(rid) ? known.get(rid).ordinal : fallback);

const sortRows = helpers.sort;
helpers.sort = (rows, getRid, compositeIndexes, ...orders) =>
  orders.length ? sortRows(rows, getRid, compositeIndexes, ...orders) : rows;

// Projections may hold undefined, stored documents never do: those must come back as the same object.
helpers.stripUndefined = function strip(value) {
  if (value === null || typeof value !== "object" || texts.has(value)) return value;
  if (Array.isArray(value)) return value.filter(v => v !== undefined).map(strip);
  return Object.fromEntries(
    Object.entries(value).filter(([, v]) => v !== undefined).map(([k, v]) => [k, strip(v)])
  );
};

function firstAfter(rows, place, getRid, orders) {
  let skip = place.n;
  const index = rows.findIndex(([, source], i) => {
    for (let k = 0; k < orders.length; k += 1) {
      const [keys, descending] = orders[k];
      const order = compareValues(valueAt(source, keys), place.v[k]) * (descending ? -1 : 1);
      if (order !== 0) return order > 0;
    }
    const ordinal = ordinalOf(getRid(source), i);
    if (ordinal !== place.o) return ordinal > place.o;
    skip -= 1;
    return skip < 0;
  });
  return index < 0 ? rows.length : index;
}

// One document can give several rows (JOIN), so a place is the document and how many of its rows are out.
function placeAfter(rows, end, getRid, orders) {
  const [, source] = rows[end - 1];
  const rid = getRid(source);
  let n = 0;
  while (end - 1 - n >= 0 && getRid(rows[end - 1 - n][1]) === rid) n += 1;
  return { o: ordinalOf(rid, end - 1), n, v: orders.map(([keys]) => valueAt(source, keys)) };
}

helpers.paginate = (rows, maxItemCount, continuation, getRid, ...orders) => {
  const place = continuation ? continuation.place : null;
  const start = place ? firstAfter(rows, place, getRid, orders) : 0;
  const result = [];
  let bytes = 0;
  let loaded = 0;
  let end = start;
  for (; end < rows.length && (maxItemCount === null || end - start < maxItemCount); end += 1) {
    const [row, source] = rows[end];
    const rid = getRid(source);
    let item = row === undefined ? undefined : helpers.stripUndefined(row);
    if (mark === MARK_ORDER_BY) {
      const orderByItems = orders.map(([keys]) => ({ item: valueAt(source, keys) }));
      item = { _rid: rid, orderByItems, payload: item };
    }
    const size = item === undefined ? 0 : textOf(item).length + 1;
    if (bytes + size > PAGE_BYTES_MAX && end > start) break;
    bytes += size;
    loaded += known.has(rid) ? known.get(rid).bytes : 0;
    if (item !== undefined) result.push(item);
  }
  // Azure Cosmos DB has not looked behind a page that is full: it gives a token, and the next page is empty.
  const unseen = options.fullLastPageHasToken && matched === null && end - start === maxItemCount;
  const more = (end < rows.length || unseen) && end > start;
  return { result, loaded, continuation: more ? placeAfter(rows, end, getRid, orders) : null };
};

function pageOptions(headers) {
  const asked = parseInt(headers["x-ms-max-item-count"], 10);
  const maxItemCount = Number.isNaN(asked) ? PAGE_ITEMS_DEFAULT : asked < 1 ? PAGE_ITEMS_DYNAMIC : asked;
  const token = headers["x-ms-continuation"];
  const key = headers["x-ms-documentdb-partitionkey"];
  const place = token ? JSON.parse(Buffer.from(token.slice(TOKEN_MARK.length), "base64").toString()) : null;
  return { maxItemCount, continuation: { place, key: key ? JSON.parse(key) : null } };
}

readItems.default = async (req, res, itemsName, fn) => {
  let answer;
  try {
    answer = await fn(pageOptions(req.headers));
  } catch (err) {
    if (!(err instanceof SyntaxError) && err.name !== "SyntaxError" && !err.badRequest) throw err;
    res.statusCode = 400;
    return { code: "BadRequest", message: err.message };
  }
  if (!answer) {
    res.statusCode = 404;
    return { code: "NotFound", message: "Resource Not Found" };
  }
  if (!answer.result) return answer;
  if (answer.continuation) {
    const token = Buffer.from(stringify(answer.continuation)).toString("base64");
    res.setHeader("x-ms-continuation", TOKEN_MARK + token);
  }
  res.setHeader("x-ms-item-count", String(answer.result.length));
  res.setHeader("x-sandbox-loaded-bytes", String(answer.loaded || 0));
  if (answer.matched !== null && answer.matched !== undefined) {
    res.setHeader("x-sandbox-matched", String(answer.matched));
  }
  const parts = [Buffer.from(`{"${itemsName}":[`)];
  answer.result.forEach((item, i) => parts.push(Buffer.from(i ? "," : ""), textOf(item)));
  parts.push(Buffer.from(`],"_count":${answer.result.length}}`));
  const page = {};
  texts.set(page, Buffer.concat(parts));
  return page;
};

const { createHttpServer } = require(path.join(server_lib, "index.js"));
const server = createHttpServer({ keepAlive: true });
const [serve] = server.listeners("request");
server.removeAllListeners("request");
server.on("request", (req, res) => {
  if (req.headers.prefer === "return=minimal") {
    const end = res.end.bind(res);
    res.end = text => end(res.statusCode < 400 ? "" : text);
  }
  serve(req, res);
});
server.keepAliveTimeout = KEEP_ALIVE_MS;
server.requestTimeout = 0;
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${stringify({ port: server.address().port })}\n`);
});
process.stdin.on("end", () => process.exit(0)).on("error", () => process.exit(0)).resume();
