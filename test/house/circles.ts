import type { Source } from './sources.ts'

type Imports = Pick<Source, 'path' | 'imports'>

/** Groups of files that import each other in a circle, also if only their types do. */
export function circlesOf(sources: readonly Imports[]): string[][] {
  const targets = new Map(
    sources.map(({ path, imports }) => [path, imports.map(({ target }) => target)]),
  )
  const reach = new Map([...targets.keys()].map((path) => [path, reachedFrom(path, targets)]))
  const tied = [...reach.keys()].filter((path) => reach.get(path)?.has(path) === true)
  const groups = Map.groupBy(tied, (path) =>
    tied.find((other) => reach.get(path)?.has(other) && reach.get(other)?.has(path)),
  )
  return [...groups.values()].map((group) => group.toSorted())
}

function reachedFrom(
  start: string,
  targets: ReadonlyMap<string, readonly (string | undefined)[]>,
): ReadonlySet<string> {
  const found = new Set<string>()
  const open = [start]
  for (let path = open.pop(); path !== undefined; path = open.pop())
    for (const target of targets.get(path) ?? []) {
      if (target === undefined || found.has(target)) continue
      found.add(target)
      open.push(target)
    }
  return found
}
