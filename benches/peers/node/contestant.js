// MSAL for Node as a contestant: see ../symbolon/src/main.rs for what it is told and what it prints.
//
//     contestant.js start|cached ENTRIES|cold secret|certificate|herd CALLS

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const tls = require('node:tls');

const GRAPH = 'https://graph.microsoft.com/.default';
const ROUNDS = 5;
const ROUND_MICROS = 300_000;

const site = JSON.parse(fs.readFileSync(process.env.PEERS_SITE, 'utf8'));

// Every HTTPS server is found at this address; there is nothing else on this network.
const connect = tls.connect;
tls.connect = (options, ...rest) =>
    connect({ ...options, host: site.address, port: site.port, servername: site.host }, ...rest);

const { ConfidentialClientApplication } = require('@azure/msal-node');

function client(kind, extra = {}) {
    const settings = site[kind];
    const auth = {
        clientId: settings.clientId,
        authority: `https://${site.host}/${site.tenant}`,
        ...(kind === 'secret' ? { clientSecret: settings.secret } : { clientCertificate: certificate(settings) }),
    };
    return new ConfidentialClientApplication({ auth, ...extra });
}

function certificate(settings) {
    const pem = fs.readFileSync(settings.pem, 'utf8');
    const [leaf] = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/);
    const [privateKey] = pem.match(/-----BEGIN [^-]*PRIVATE KEY-----[^-]+-----END [^-]*PRIVATE KEY-----/);
    const thumbprintSha256 = new crypto.X509Certificate(leaf).fingerprint256.replaceAll(':', '');
    return { thumbprintSha256, privateKey };
}

async function token(app, skipCache = false) {
    const result = await app.acquireTokenByClientCredential({ scopes: [GRAPH], skipCache });
    return result.accessToken;
}

async function start() {
    return { tokenBytes: (await token(client('secret'))).length };
}

async function cached(entries) {
    const app = client('secret');
    await token(app);
    globalThis.gc();
    const before = process.memoryUsage.rss();
    if (entries > 1) {
        app.getTokenCache().deserialize(filled(app.getTokenCache().serialize(), entries - 1));
        globalThis.gc();
    }
    const bytes = entries > 1 ? Math.round((process.memoryUsage.rss() - before) / entries) : null;
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
        const began = process.cpuUsage();
        let calls = 0;
        do {
            await token(app);
            calls++;
        } while (micros(began) < ROUND_MICROS);
        rounds.push((micros(began) * 1000) / calls);
    }
    return { cpuNanos: median(rounds), bytes };
}

/** The serialized cache with tokens of other directories. */
function filled(serialized, entries) {
    const cache = JSON.parse(serialized);
    const [[key, known]] = Object.entries(cache.AccessToken);
    for (let i = 0; i < entries; i++) {
        const realm = `${i.toString(16).padStart(8, '0')}-14a6-49ae-97bc-6eba6914391e`;
        const secret = i.toString(16).padStart(8, '0') + 't'.repeat(1392);
        cache.AccessToken[key.replace(known.realm, realm)] = { ...known, realm, secret };
    }
    return JSON.stringify(cache);
}

async function cold(kind) {
    const app = client(kind);
    for (let i = 0; i < 20; i++) await token(app, true);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
        const began = process.cpuUsage();
        for (let i = 0; i < 100; i++) await token(app, true);
        rounds.push(micros(began) * 10);
    }
    return { cpuNanos: median(rounds) };
}

async function herd(calls) {
    const app = client('secret');
    await Promise.all(Array.from({ length: calls }, () => token(app)));
    return {};
}

function micros(began) {
    const { user, system } = process.cpuUsage(began);
    return user + system;
}

function median(values) {
    return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

const [what, argument] = process.argv.slice(2);
const run = { start, cached: () => cached(Number(argument)), cold: () => cold(argument), herd: () => herd(Number(argument)) };
run[what]().then(
    (result) => console.log(JSON.stringify(result)),
    (error) => {
        console.error(error);
        process.exit(1);
    },
);
