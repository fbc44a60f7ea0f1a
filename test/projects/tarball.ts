import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './build.ts'
import { root, run } from './package.ts'

function must(folder: string, args: readonly string[]): void {
  const { code, text } = run(folder, 'npm', args)
  if (code !== 0) throw new Error(`npm ${args[0]} failed:\n${text}`)
}

/** Packs what `npm publish` would take, and returns the path of the tarball. */
function pack(into: string): string {
  const stage = join(into, 'stage')
  mkdirSync(stage)
  for (const name of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'docs'])
    cpSync(join(root, name), join(stage, name), {
      recursive: true,
      filter: (path) => !path.includes('/docs/site/'),
    })
  build(join(stage, 'dist'))
  must(stage, ['pack', '--ignore-scripts', '--pack-destination', into])
  const name = readdirSync(into).find((file) => file.endsWith('.tgz'))
  if (name === undefined) throw new Error('npm pack made no tarball')
  return join(into, name)
}

/** A folder as a stranger has it: empty but for the package, which npm has installed offline. */
export function strangersFolder(): { readonly folder: string } & Disposable {
  const place = mkdtempSync(join(tmpdir(), 'mersal-stranger-'))
  try {
    const folder = join(place, 'project')
    mkdirSync(folder)
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
    must(folder, ['install', '--offline', '--no-audit', '--no-fund', pack(place)])
    return { folder, [Symbol.dispose]: () => rmSync(place, { recursive: true, force: true }) }
  } catch (error) {
    rmSync(place, { recursive: true, force: true })
    throw error
  }
}
