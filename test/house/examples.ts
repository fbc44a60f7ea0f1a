/** The examples of the pages: blocks of code that tests compile and run. */
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { entries } from '../../scripts/public-api.ts'
import { root } from './sources.ts'

export interface Example {
  readonly page: string
  readonly line: number
  readonly code: string
}

/** The `ts` blocks of a page. */
export function examplesOf(page: string): Example[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```ts[^\n]*\n(?<code>[\s\S]*?)^```$/gm)].map((block) => ({
    page,
    line: text.slice(0, block.index).split('\n').length,
    code: block.groups!['code']!,
  }))
}

/** The sources in place of the built package, as seen from this folder. */
export function sourcePaths(folder: string): Record<string, string[]> {
  const up = relative(folder, root)
  return Object.fromEntries(
    [...entries()].map(([path, file]) => [
      `mersal${path.slice(1)}`,
      [`${up}/src/${file.replace('.d.ts', '.ts')}`],
    ]),
  )
}

/** The code with its imports of the package turned to the sources, to be run in this folder. */
export function onSources(code: string, folder: string): string {
  let turned = code
  for (const [name, [path]] of Object.entries(sourcePaths(folder)))
    turned = turned.replaceAll(`from '${name}'`, `from '${path!}'`)
  return turned
}
