import type { DiscoveryService } from '@nestjs/core'
import type { Mersal } from '../app/mersal.ts'
import { MersalError } from '../core/errors/errors.ts'
import { suggest } from '../lib/suggest.ts'
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
  const run: AppRun = {
    async onApplicationBootstrap() {
      for (const { instance, handles } of handlersOf(discovery, name)) {
        const { type, method, options } = handles
        app.handle(type, async (...given) => void (await call(instance, method, given)), options)
      }
      if (start) await app.start()
    },
    async onApplicationShutdown() {
      await app.stop()
    },
  }
  names.set(run, name)
  return run
}

/** The names of the apps that are run. */
const names = new WeakMap<object, string>()

const nameOfRun = (instance: unknown): string | undefined =>
  typeof instance === 'object' && instance !== null ? names.get(instance) : undefined

/** Looked up with each message, since what stands there may be replaced while tests run. */
function call(instance: object, method: string | symbol, given: readonly unknown[]): unknown {
  const found: unknown = Reflect.get(instance, method)
  if (typeof found === 'function') return Reflect.apply(found, instance, given) as unknown
  const text = `@Handles() of '${String(method)}': it is no method any more`
  throw new MersalError('MERSAL_INVALID_OPTIONS', text)
}

/** Nobody would notice a handler whose app is spelled otherwise: its messages would wait. */
function checkApp(
  { app, method }: HandledMethod,
  instance: object,
  known: ReadonlySet<string>,
): void {
  if (known.has(app)) return
  const near = suggest(app, [...known])
  const remedy =
    near === undefined
      ? `this program has ${[...known].map((name) => `'${name}'`).join(', ')}`
      : `did you mean '${near}'?`
  const text = `@Handles() of '${String(method)}' in ${instance.constructor.name}: no module has the app '${app}'; ${remedy}`
  throw new MersalError('MERSAL_INVALID_OPTIONS', text, { details: { field: 'app' } })
}

interface FoundHandler {
  readonly instance: object
  readonly handles: HandledMethod
}

/** The methods of all singletons that handle messages for this app. */
function handlersOf(discovery: DiscoveryService, app: string): FoundHandler[] {
  const wrappers = [...discovery.getProviders(), ...discovery.getControllers()]
  const seen = new Set<object>()
  const known = new Set(wrappers.flatMap(({ instance }) => nameOfRun(instance) ?? []))
  return wrappers.flatMap((wrapper) => {
    const { metatype } = wrapper as { metatype: { prototype?: object } | null }
    const methods = handledBy(metatype?.prototype)
    if (wrapper.isTransient) {
      refuse(methods, wrapper.name, 'a transient provider has an instance for each user')
      return []
    }
    if (!wrapper.isDependencyTreeStatic()) {
      refuse(methods, wrapper.name, 'a message has no request')
      return []
    }
    const instance = wrapper.instance as unknown
    if (typeof instance !== 'object' || instance === null || seen.has(instance)) return []
    seen.add(instance)
    const own = handledBy(Object.getPrototypeOf(instance) as object | null)
    for (const handles of own) checkApp(handles, instance, known)
    return own.filter((handles) => handles.app === app).map((handles) => ({ instance, handles }))
  })
}

function refuse(methods: readonly HandledMethod[], provider: unknown, why: string): void {
  const [first] = methods
  if (first === undefined) return
  const text = `@Handles() of '${String(first.method)}' in ${String(provider)}: ${why}; make the provider a singleton, without providers in the scope of a request`
  throw new MersalError('MERSAL_INVALID_OPTIONS', text)
}
