import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

// Bundles what `import 'mersal'` loads, and proves that it needs nothing but Node itself.
// Its size and 2 %. Sagas, contracts, requests and delays make a quarter of it.
const limitBytes = 229_800

const { metafile, outputFiles } = await build({
  entryPoints: ['dist/index.js'],
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  platform: 'node',
  format: 'esm',
  target: 'node22',
  // Nothing from node_modules is taken in, so that every package shows up as an import.
  packages: 'external',
})

const imports = Object.values(metafile.outputs).flatMap((output) => output.imports)
const foreign = [
  ...new Set(imports.filter(({ external }) => external === true).map(({ path }) => path)),
].filter((path) => !path.startsWith('node:'))
const adapters = Object.keys(metafile.inputs).filter((path) =>
  /(?:^|\/)dist\/(?:stores|transports|testing|cli)\//.test(path),
)
const bytes = outputFiles[0]?.contents ?? new Uint8Array()

const problems = [
  ...foreign.map((path) => `the core imports ${path}, which is not part of Node`),
  ...adapters.map((path) => `the core takes in ${path}, which belongs to a sub-path of its own`),
  ...(bytes.length > limitBytes
    ? [
        `the core has grown above ${limitBytes} bytes; look what came in, or raise the limit in scripts/check-core.ts`,
      ]
    : []),
]
process.stdout.write(
  `core: ${Object.keys(metafile.inputs).length} files, ${bytes.length} bytes minified, ${gzipSync(bytes).length} gzipped, ${foreign.length} packages\n`,
)
if (problems.length > 0) {
  process.stderr.write(`${problems.join('\n')}\n`)
  process.exitCode = 1
}
