export { Handles, type HandlesOptions } from './nestjs/handles.ts'
export {
  healthIndicator,
  type HealthIndicatorOptions,
  type MersalIndication,
} from './nestjs/health.ts'
export {
  MersalModule,
  type MersalModuleAsyncOptions,
  type MersalModuleOptions,
} from './nestjs/module.ts'
export { InjectMersal, mersalToken } from './nestjs/tokens.ts'
