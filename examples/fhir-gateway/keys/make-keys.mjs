// Makes the example's synthetic signing keys and the issuer's key set. Run: node make-keys.mjs
// They protect nothing: they are public, and only tests use them.
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";

const kinds = [
  ["rs256", "RS256", "rsa", { modulusLength: 2048 }],
  ["es256", "ES256", "ec", { namedCurve: "P-256" }],
  ["eddsa", "EdDSA", "ed25519", {}],
];
const published = [];
for (const [name, alg, type, options] of kinds) {
  const { privateKey, publicKey } = generateKeyPairSync(type, options);
  const about = { kid: `synthetic-${name}`, use: "sig", alg };
  published.push({ ...publicKey.export({ format: "jwk" }), ...about });
  const jwk = { ...privateKey.export({ format: "jwk" }), ...about };
  writeFileSync(`${name}.synthetic.jwk.json`, JSON.stringify(jwk, null, 2) + "\n");
}
// A key of the same kind and name that the issuer never published: for forged tokens. As PEM, as an attacker may have it.
// Its modulus is below the issuer's: else some of its signatures, by chance, are no numbers for the issuer's key, and refused sooner.
const modulus = (jwk) => BigInt("0x" + Buffer.from(jwk.n, "base64url").toString("hex"));
const issuers = published.find((jwk) => jwk.kty === "RSA");
let stranger;
do stranger = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
while (modulus(stranger.export({ format: "jwk" })) >= modulus(issuers));
writeFileSync("stranger.synthetic.pem", stranger.export({ format: "pem", type: "pkcs8" }));
writeFileSync("../jwks.json", JSON.stringify({ keys: published }, null, 2) + "\n");
