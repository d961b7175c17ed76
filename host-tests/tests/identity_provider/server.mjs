// An OpenID provider on the loopback (npm oidc-provider). It prints its issuer, and takes orders on standard input:
//   keys NAME..   from now on these keys are published, the first one signs; a name stands for a key that is made at its first use
// Each order is answered with the same line. The client secret protects nothing.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const made = new Map();
function key(name) {
  if (!made.has(name)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    made.set(name, { ...privateKey.export({ format: 'jwk' }), kid: name, alg: 'ES256', use: 'sig' });
  }
  return made.get(name);
}

const audience = 'https://fhir.example.org';
const scope = 'system/Patient.rs system/Observation.rs';

function provider(issuer, names) {
  return new Provider(issuer, {
    clients: [{
      client_id: 'backend', client_secret: 'synthetic-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: 'ES256',
    }],
    jwks: { keys: names.map(key) },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        getResourceServerInfo: () => ({ scope, audience, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
      },
    },
    ttl: { ClientCredentials: 600 },
  });
}

let handle;
const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  handle = provider(issuer, ['first']).callback();
  console.log(`issuer ${issuer}`);
  const orders = createInterface({ input: process.stdin });
  orders.on('line', (line) => {
    const [order, ...names] = line.trim().split(' ');
    if (order === 'keys') handle = provider(issuer, names).callback();
    console.log(line);
  });
  orders.on('close', () => process.exit(0));
});
