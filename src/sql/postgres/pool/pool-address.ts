import { MersalError } from '../../../core/errors/errors.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../../lib/ambiguous-url.ts'

/**
 * A pool of `pg` shows the address that it was made with. What its client reads as a host, it shows
 * in its errors.
 */
export function checkAddress(field: string, pool: object): void {
  const { options } = pool as { readonly options?: { readonly connectionString?: unknown } }
  const url = options?.connectionString
  if (typeof url !== 'string' || !isAmbiguousUrl(url)) return
  throw new MersalError(
    'MERSAL_INVALID_OPTIONS',
    `${field}: in its connectionString, ${ambiguousUrl}`,
    { details: { field } },
  )
}
