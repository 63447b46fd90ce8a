// Runs Azurite so that it ends when its stdin closes; it changes nothing else about it.
//
// usage: node azurite_launcher.js NODE_MODULES_DIR [azurite options]
"use strict";

const path = require("path");

process.stdin.on("end", () => process.exit(0)).on("error", () => process.exit(0)).resume();
const [modules] = process.argv.splice(2, 1);
require(path.join(path.resolve(modules), "azurite", "dist", "src", "azurite.js"));
