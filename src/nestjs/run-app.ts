import type { DiscoveryService } from '@nestjs/core'
import type { Mersal } from '../app/mersal.ts'
import { MersalError } from '../core/errors/errors.ts'
import { type HandledMethod, handledBy } from './handles.ts'

/** The hooks of Nest that run an app. */
export interface AppRun {
  onApplicationBootstrap(): Promise<void>
  onApplicationShutdown(): Promise<void>
}

interface RunOptions {
  readonly name: string
  /** False: the app registers its handlers and is not started. */
  readonly start: boolean
}

/**
 * Registers the handlers and starts the app when all modules are initialised. Stops it after the
 * HTTP server has answered its last request.
 */
export function runApp<Tx>(
  app: Mersal<Tx>,
  discovery: DiscoveryService,
  { name, start }: RunOptions,
): AppRun {
  return {
    async onApplicationBootstrap() {
      for (const { instance, handles } of handlersOf(discovery, name)) {
        const { type, method, options } = handles
        const call = instance as Record<string | symbol, (...given: unknown[]) => unknown>
        app.handle(type, async (...given) => void (await call[method]?.(...given)), options)
      }
      if (start) await app.start()
    },
    async onApplicationShutdown() {
      await app.stop()
    },
  }
}

interface FoundHandler {
  readonly instance: object
  readonly handles: HandledMethod
}

/** The methods of all singletons that handle messages for this app. */
function handlersOf(discovery: DiscoveryService, app: string): FoundHandler[] {
  const wrappers = [...discovery.getProviders(), ...discovery.getControllers()]
  const seen = new Set<object>()
  return wrappers.flatMap((wrapper) => {
    const { metatype } = wrapper as { metatype: { prototype?: object } | null }
    if (!wrapper.isDependencyTreeStatic()) {
      refuseRequestScope(handledBy(metatype?.prototype), wrapper.name)
      return []
    }
    const instance = wrapper.instance as unknown
    if (typeof instance !== 'object' || instance === null || seen.has(instance)) return []
    seen.add(instance)
    return handledBy(Object.getPrototypeOf(instance) as object | null)
      .filter((handles) => handles.app === app)
      .map((handles) => ({ instance, handles }))
  })
}

function refuseRequestScope(methods: readonly HandledMethod[], provider: unknown): void {
  const [first] = methods
  if (first === undefined) return
  const text = `@Handles() of '${String(first.method)}' in ${String(provider)}: a message has no request; make the provider a singleton, without providers in the scope of a request`
  throw new MersalError('MERSAL_INVALID_OPTIONS', text)
}
