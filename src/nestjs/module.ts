import {
  type DynamicModule,
  type InjectionToken,
  Module,
  type ModuleMetadata,
} from '@nestjs/common'
import { DiscoveryModule, DiscoveryService } from '@nestjs/core'
import { Mersal } from '../app/mersal.ts'
import type { MersalOptions } from '../app/types.ts'
import { checkBoolean, checkOptions, invalidOption } from '../core/options.ts'
import { runApp } from './run-app.ts'
import { DEFAULT_APP, mersalToken } from './tokens.ts'

/** How a module holds its app. */
export interface MersalModuleOptions {
  /** Tells several apps of one program apart. Default 'default'. */
  readonly app?: string
  /** False: the app is not started with the program; it only sends. Default true. */
  readonly start?: boolean
}

/** Options of an app whose options come from providers. */
export interface MersalModuleAsyncOptions<Tx> extends MersalModuleOptions {
  /**
   * Modules that the factory needs, such as the one of the database: it is closed after the app.
   * Default none.
   */
  readonly imports?: ModuleMetadata['imports']
  /** Providers that `useFactory` is called with, in this order. Default none. */
  readonly inject?: readonly InjectionToken[]
  /** Makes the options of the app. */
  readonly useFactory: (...given: never[]) => MersalOptions<Tx> | Promise<MersalOptions<Tx>>
}

/**
 * Runs an app in a program of Nest. Import it once for each app, into the root module. It starts
 * when all modules are initialised, and stops after the HTTP server.
 */
// oxlint-disable-next-line typescript/no-extraneous-class -- Nest takes modules as classes
export class MersalModule {
  /** Throws `MERSAL_INVALID_OPTIONS`. */
  static forRoot<Tx = undefined>(
    options: MersalOptions<Tx>,
    module: MersalModuleOptions = {},
  ): DynamicModule {
    return MersalModule.forRootAsync({ ...module, useFactory: () => options })
  }

  /** Throws `MERSAL_INVALID_OPTIONS`. */
  static forRootAsync<Tx = undefined>(options: MersalModuleAsyncOptions<Tx>): DynamicModule {
    checkOptions('forRootAsync()', options, ['app', 'start', 'imports', 'inject', 'useFactory'])
    const { app: name = DEFAULT_APP, imports = [], inject = [], useFactory } = options
    if (typeof name !== 'string' || name === '') throw invalidOption('app', 'expected a name')
    for (const [field, list] of Object.entries({ imports, inject }))
      if (!Array.isArray(list)) throw invalidOption(field, 'expected an array')
    if (typeof useFactory !== 'function') throw invalidOption('useFactory', 'expected a function')
    const start = checkBoolean('start', options.start) ?? true
    const token = mersalToken(name)
    const app = {
      provide: token,
      inject: [...inject],
      useFactory: async (...given: never[]) => new Mersal(await useFactory(...given)),
    }
    const run = {
      provide: `mersal:run:${name}`,
      inject: [token, DiscoveryService],
      useFactory: (made: Mersal<Tx>, discovery: DiscoveryService) =>
        runApp(made, discovery, { name, start }),
    }
    return {
      module: MersalModule,
      // Not global: Nest closes global modules last, so databases of other modules would be closed
      // before the app.
      imports: [DiscoveryModule, shared({ imports: [...imports], providers: [app] }, token)],
      providers: [run],
    }
  }
}
Module({})(MersalModule)

/** Gives every module the app. */
// oxlint-disable-next-line typescript/no-extraneous-class -- Nest takes modules as classes
class MersalAppModule {}
Module({})(MersalAppModule)

function shared(
  { imports, providers }: Required<Pick<DynamicModule, 'imports' | 'providers'>>,
  token: InjectionToken,
): DynamicModule {
  return { module: MersalAppModule, global: true, imports, providers, exports: [token] }
}
