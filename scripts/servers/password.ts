/**
 * Password of the servers that the tests use. PostgreSQL trusts its own machine and does not look
 * at it.
 */
export const canaryPassword = 'canary-5erv3r-pw'
