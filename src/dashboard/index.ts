export { type Dashboard, dashboard } from './dashboard.ts'
export type { NodeAnswer, NodeAsk } from './http/node.ts'
export type { DashboardOptions, DashboardStore } from './options.ts'
export type { Admission, Right } from './access/rights.ts'
