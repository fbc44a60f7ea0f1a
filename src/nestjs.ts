export { Handles, type HandlesOptions } from './nestjs/handles.ts'
export {
  MersalModule,
  type MersalModuleAsyncOptions,
  type MersalModuleOptions,
} from './nestjs/module.ts'
export { InjectMersal, mersalToken } from './nestjs/tokens.ts'
