/** At the end: what is quoted before it may look like a place. */
const PLACE = / JSON at position (\d{1,15})(?: \(line \d+ column \d+\))?$/

/**
 * As `JSON.parse`, which quotes what it cannot read. The error of this one says the place alone,
 * since the text may be a secret.
 */
export function parseJson(text: string): unknown {
  let place: string | undefined
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    place = PLACE.exec((error as Error).message)?.[1]
  }
  // Outside of the block that has caught: nothing holds the other error any more.
  throw new SyntaxError(place === undefined ? 'not JSON' : `not JSON at position ${place}`)
}
