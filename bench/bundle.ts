import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * A program as plain JavaScript, as the package is published: reading TypeScript would cost each
 * process 40 MB and half a second. Returns its path.
 */
export async function bundled(entry: URL, name: string): Promise<string> {
  const outfile = fileURLToPath(new URL(`results/${name}.mjs`, import.meta.url))
  await build({
    entryPoints: [fileURLToPath(entry)],
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    sourcemap: 'inline',
  })
  return outfile
}
