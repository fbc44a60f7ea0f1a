import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

// Removes the declarations that no sub-path of the package reaches. Nobody can import their modules
// by name, and no public type mentions them: they made a tenth of the tarball.

const root = resolve(fileURLToPath(new URL('..', import.meta.url)))
const folder = resolve(process.argv[2] ?? join(root, 'dist'))
const { exports: subPaths } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string | { readonly types: string }>
}

/** `import`, `export … from` and `import('…')`, of files of ours. */
const mention = /(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g

const reached = new Set<string>()
const ahead = Object.values(subPaths).flatMap((target) =>
  typeof target === 'string' ? [] : [resolve(folder, target.types.replace('./dist/', ''))],
)
for (let path = ahead.pop(); path !== undefined; path = ahead.pop()) {
  if (reached.has(path)) continue
  if (!existsSync(path)) throw new Error(`${path} does not exist, and a declaration mentions it`)
  reached.add(path)
  for (const [, mentioned = ''] of readFileSync(path, 'utf8').matchAll(mention))
    ahead.push(resolve(dirname(path), mentioned.replace(/\.[jt]s$/, '.d.ts')))
}

for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
  const path = join(folder, name)
  if (name.endsWith('.d.ts') && !reached.has(path)) rmSync(path)
}
