// Runs a test binary that was built for wasm32-wasip1, on Node's WASI: cargo calls it with the binary and its arguments.
// It sees the crate's folder as `/` and as `.`, and nothing else of this machine.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [file, ...args] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args: [file, ...args],
  env: { RUST_BACKTRACE: process.env.RUST_BACKTRACE ?? "0", PROPTEST_CASES: process.env.PROPTEST_CASES ?? "64" },
  preopens: { "/": process.cwd(), ".": process.cwd() },
  returnOnExit: true,
});
const module = await WebAssembly.compile(await readFile(file));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
try {
  process.exitCode = wasi.start(instance);
} catch (error) {
  // A test that fails aborts; what it said stands above.
  console.error(String(error));
  process.exitCode = 101;
}
