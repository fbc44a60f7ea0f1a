import { Mersal } from '../app/mersal.ts'
import type { UnitSender } from '../app/types.ts'
import { checkBoolean, checkNumber, checkOptions, invalidOption } from '../core/options.ts'
import type { DashboardOptions } from '../dashboard/options.ts'
import type { FastifyRequestPart } from '../http/fastify.ts'
import type { IdempotencyOptions } from '../http/idempotency.ts'
import type { RouteOptions } from '../http/route.ts'

/** What of an app the plugin uses; only an app made by `new Mersal()` will do. */
export type FastifyApp<Tx> = Pick<
  Mersal<Tx>,
  'name' | 'state' | 'health' | 'start' | 'stop' | 'drain' | 'once' | 'transaction'
>

/** Options of the plugin for Fastify. */
export interface FastifyOptions<Tx = unknown> {
  /** The app that runs with the server. */
  readonly app: FastifyApp<Tx>
  /** Name of the app at the server. Default 'mersal'. */
  readonly decorator?: string
  /** False: the app is not started with the server; it is stopped all the same. Default true. */
  readonly start?: boolean
  /**
   * How long to publish what waits in the outbox before the app stops, in milliseconds. From 0 to
   * an hour. Default 0: it stays for a relay, or for the next start.
   */
  readonly drainMs?: number
  /** Routes about the health of the app. True: `/healthz` and `/readyz`. Default false: none. */
  readonly health?: boolean | HealthPaths
  /** Path of the metrics. True: `/metrics`. Default false: none. */
  readonly metrics?: boolean | string
  /** How `reply.once` reads keys. False: there is no `reply.once`. Default: as `idempotency()`. */
  readonly idempotency?: FastifyIdempotency | false
  /** A dashboard of the app at this path. Default none. */
  readonly dashboard?: FastifyDashboard
}

/** Where the health of the app is told. */
export interface HealthPaths {
  /** 200 unless the app has stopped. Default '/healthz'. */
  readonly live?: string
  /** 200 when the app is ready. Default '/readyz'. */
  readonly ready?: string
}

/** Options of `reply.once`, for all routes. */
export interface FastifyIdempotency extends IdempotencyOptions {
  /** Whose keys these are, such as the user who is logged in. Default: one scope for all. */
  scope?(this: void, request: FastifyRequestPart): string
}

/** Options of a dashboard of the app. */
export type FastifyDashboard = Omit<
  DashboardOptions,
  'apps' | 'stores' | 'transport' | 'bridges' | 'path'
> & { readonly path: string }

/** What the server has with the plugin; its name is that of the option `decorator`. */
export interface MersalOfServer<Tx> {
  readonly mersal: Mersal<Tx>
}

/** What a reply has with the plugin. */
export interface OnceOfReply<Tx> {
  /**
   * Answers the request once for each `Idempotency-Key`: the work, its messages and the answer are
   * committed in one transaction, or nothing is. A repeat gets the same answer.
   */
  once(
    work: (tx: Tx, sender: UnitSender) => Response | Promise<Response>,
    options?: RouteOptions<FastifyRequestPart>,
  ): Promise<unknown>
}

/** Options with every default filled in. */
export interface Settings<Tx> {
  readonly app: FastifyApp<Tx>
  readonly decorator: string
  readonly start: boolean
  readonly drainMs: number
  readonly live: string | undefined
  readonly ready: string | undefined
  readonly metrics: string | undefined
  readonly idempotency: FastifyIdempotency | undefined
  readonly dashboard: FastifyDashboard | undefined
}

const WHERE = 'mersal/fastify'

const known = [
  'app',
  'decorator',
  'start',
  'drainMs',
  'health',
  'metrics',
  'idempotency',
  'dashboard',
] as const satisfies readonly (keyof FastifyOptions)[]

/** Throws `MERSAL_INVALID_OPTIONS`. Fastify adds what it knows itself. */
export function checkFastify<Tx>(options: FastifyOptions<Tx>): Settings<Tx> {
  checkOptions(WHERE, options, [...known, 'logLevel', 'logSerializers'])
  const { app, decorator = 'mersal', drainMs } = options
  if (!((app as unknown) instanceof Mersal))
    throw invalidOption(`${WHERE}.app`, 'expected an app made by new Mersal()')
  if (typeof decorator !== 'string' || !/^[A-Za-z_$][\w$]*$/.test(decorator))
    throw invalidOption(`${WHERE}.decorator`, "expected a name such as 'mersal'")
  return {
    app,
    decorator,
    start: checkBoolean(`${WHERE}.start`, options.start) ?? true,
    drainMs: checkNumber(`${WHERE}.drainMs`, drainMs, { default: 0, min: 0, max: 3_600_000 }),
    ...healthPaths(options.health),
    metrics: pathOf('metrics', options.metrics, '/metrics'),
    idempotency: idempotencyOf(options.idempotency),
    dashboard: dashboardOf(options.dashboard),
  }
}

function healthPaths(given: FastifyOptions['health']): Pick<Settings<never>, 'live' | 'ready'> {
  if (given === undefined || typeof given === 'boolean')
    return given === true
      ? { live: '/healthz', ready: '/readyz' }
      : { live: undefined, ready: undefined }
  checkOptions(`${WHERE}.health`, given, ['live', 'ready'])
  return {
    live: pathOf('health.live', given.live ?? true, '/healthz'),
    ready: pathOf('health.ready', given.ready ?? true, '/readyz'),
  }
}

function pathOf(field: string, given: unknown, preset: string): string | undefined {
  if (given === undefined || given === false) return undefined
  const path = given === true ? preset : given
  if (typeof path !== 'string' || !/^\/[^\s?#*:]*$/.test(path))
    throw invalidOption(`${WHERE}.${field}`, `expected true, or a path such as '${preset}'`)
  return path
}

function idempotencyOf(given: FastifyOptions['idempotency']): FastifyIdempotency | undefined {
  if (given === false) return undefined
  if (given === undefined) return {}
  if (typeof given !== 'object' || given === null)
    throw invalidOption(`${WHERE}.idempotency`, 'expected options, or false')
  if (given.scope !== undefined && typeof given.scope !== 'function')
    throw invalidOption(`${WHERE}.idempotency.scope`, 'expected a function of the request')
  return given
}

/** Its other options are checked by the dashboard itself. */
function dashboardOf(given: FastifyOptions['dashboard']): FastifyDashboard | undefined {
  if (given === undefined) return undefined
  if (typeof given !== 'object' || given === null)
    throw invalidOption(`${WHERE}.dashboard`, 'expected options with a path')
  const path = pathOf('dashboard.path', given.path, '/admin/mersal')
  if (path === undefined || path === '/')
    throw invalidOption(`${WHERE}.dashboard.path`, "expected a path such as '/admin/mersal'")
  return { ...given, path: path.replace(/\/+$/, '') }
}
