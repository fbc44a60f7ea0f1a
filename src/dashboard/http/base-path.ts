import { invalidOption } from '../../core/options.ts'
import { problem } from './problem.ts'

/** Parts of a path, each decoded by itself: a slash in one of them stays in it. */
export type Segments = readonly string[]

/** Below which path the dashboard is. `/` and the empty text: at the root. */
export function checkBasePath(field: string, given: unknown): Segments | undefined {
  if (given === undefined) return undefined
  if (typeof given !== 'string' || !/^(?:\/[^?#\s]*)?$/.test(given))
    throw invalidOption(field, "expected a path that begins with '/', without '?' and '#'")
  const parts = given.replace(/\/$/, '').split('/').slice(1).map(decoded)
  const good = (part: string | undefined): part is string =>
    part !== undefined && part !== '' && part !== '.' && part !== '..'
  if (!parts.every(good))
    throw invalidOption(field, "expected parts that are not empty, '.' or '..', encoded as in URLs")
  return parts
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

/**
 * What follows the base in a path; undefined: the path is not below it. `['']` is the page itself,
 * `[]` the same without its slash.
 */
export function below(pathname: string, base: Segments): Segments | undefined {
  const parts = pathname.split('/').slice(1).map(decoded)
  if (parts.includes(undefined))
    throw problem(400, 'bad-path', 'The path is not encoded as in URLs.')
  if (!base.every((part, index) => part === parts[index])) return undefined
  return parts.slice(base.length) as string[]
}

/** From a page without its slash to the one with it; relative, so that it leads nowhere else. */
export function withSlash({ pathname, search }: URL): string {
  return `./${pathname.slice(pathname.lastIndexOf('/') + 1)}/${search}`
}
