import { invalidOption } from '../../core/options.ts'

const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

/** What `isTenantName` wants, in words. */
export const tenantRule =
  "1 to 100 letters, digits, '.', '_' or '-', the first one a letter or a digit"

/**
 * Whether this can name a tenant. It may stand in the name of a schema or a file, so it has no part
 * of a path.
 */
export function isTenantName(given: unknown): given is string {
  return typeof given === 'string' && TENANT.test(given)
}

/** The name. Throws `MERSAL_INVALID_OPTIONS`, naming the field, unless it can name a tenant. */
export function checkTenant(field: string, given: unknown): string {
  if (isTenantName(given)) return given
  const got =
    given === undefined
      ? 'is missing: give the name of a tenant, '
      : 'expected the name of a tenant: '
  throw invalidOption(field, `${got}${tenantRule}`)
}
