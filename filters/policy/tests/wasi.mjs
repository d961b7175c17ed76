// Runs a test binary that was built for wasm32-wasip1 on Node's WASI. Cargo calls it with the binary and its arguments, in the crate's folder,
// which is all of this machine that the binary sees.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [file, ...args] = process.argv.slice(2);
const here = process.cwd();
const wasi = new WASI({
  version: "preview1",
  args: [file, ...args],
  // Fewer than natively: what this run looks for are sizes of 32 bits, not rare inputs.
  env: { PROPTEST_CASES: process.env.PROPTEST_CASES ?? "32", PROPTEST_FAILURE_PERSISTENCE: "off" },
  preopens: { ".": here, [here]: here },
  returnOnExit: true,
});
const module = await WebAssembly.compile(await readFile(file));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
try {
  process.exitCode = wasi.start(instance);
} catch (error) {
  // A test that fails aborts them all; what it said stands above.
  console.error(String(error));
  process.exitCode = 101;
}
