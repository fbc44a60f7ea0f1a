export { createTenants } from './tenants.ts'
export type { Tenants } from './types.ts'
export type { TenantNames, TenantPlace, TenantsOptions } from './options.ts'
export type { TenantStatus } from './tenant.ts'
