import { invalidOption } from '../../core/options.ts'

/**
 * What somebody may do beyond reading. `retry` and `discard`: dead letters. `pause`: pause and
 * resume. `bodies`: see what messages say: bodies, values of headers, states of sagas.
 */
export type Right = 'retry' | 'discard' | 'pause' | 'bodies'

/** False: nothing. True: read, and all that `allow` names. A list: read, and only these of it. */
export type Admission = boolean | readonly Right[]

export const allRights: readonly Right[] = ['retry', 'discard', 'pause', 'bodies']

/** The rights that are given. Throws `MERSAL_INVALID_OPTIONS`. */
export function checkRights(field: string, given: unknown): ReadonlySet<Right> {
  if (given === undefined) return new Set()
  if (!Array.isArray(given) || !given.every((one) => allRights.includes(one as Right)))
    throw invalidOption(
      field,
      `expected a list of ${allRights.map((one) => `'${one}'`).join(', ')}`,
    )
  return new Set(given as readonly Right[])
}
