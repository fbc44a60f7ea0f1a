import { invalidOption } from '../core/options.ts'
import { errorFields } from '../core/errors/error-text.ts'
import { dashboard } from '../dashboard/dashboard.ts'
import { idempotency } from '../http/idempotency.ts'
import { monitoring, type MonitorRoute } from '../http/monitoring.ts'
import {
  checkFastify,
  type FastifyDashboard,
  type FastifyOptions,
  type OnceOfReply,
  type Settings,
} from './options.ts'
import type { FastifyLike, FastifyReplyLike } from './structure.ts'

type Plugin = <Tx>(web: FastifyLike, options: FastifyOptions<Tx>) => Promise<void>

/**
 * A plugin for Fastify 5: `await web.register(mersal, { app })`. The app starts before the server
 * listens, and stops after the last request was answered. Register it behind the plugins whose
 * connections the app uses: Fastify closes in the opposite order.
 *
 * The server has the app as `web.mersal`, and each reply `reply.once`. Routes of health, metrics
 * and a dashboard are made if the options ask for them.
 *
 * Throws `MERSAL_INVALID_OPTIONS`. An app that cannot start fails `ready()` and `listen()`.
 */
export const mersal: Plugin = Object.assign(run, {
  // Without a scope of its own, so that the whole server has the decorators.
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'mersal',
  [Symbol.for('plugin-meta')]: { fastify: '5.x', name: 'mersal' },
})

async function run<Tx>(web: FastifyLike, options: FastifyOptions<Tx>): Promise<void> {
  const settings = checkFastify(options)
  const { app, decorator, start } = settings
  web.decorate(decorator, app)
  decorateReply(web, settings)
  const pages = monitorRoutes(web, settings)
  const ui = settings.dashboard && mountDashboard(web, settings, settings.dashboard)
  if (start) web.addHook('onReady', () => app.start())
  // An open page would hold up the server.
  if (ui !== undefined) web.addHook('preClose', async () => ui[Symbol.dispose]())
  web.addHook('onClose', async () => {
    await drain(web, settings)
    try {
      await app.stop()
    } finally {
      pages?.[Symbol.dispose]()
    }
  })
}

/** What is left then waits for a relay or for the next start, so a failure must not stop the stop. */
async function drain<Tx>(web: FastifyLike, { app, drainMs }: Settings<Tx>): Promise<void> {
  if (drainMs === 0 || app.state === 'stopped') return
  try {
    await app.drain({ deadlineMs: drainMs })
  } catch (thrown) {
    web.log.error({ app: app.name, ...errorFields(thrown) }, 'the outbox was not drained')
  }
}

function decorateReply<Tx>(web: FastifyLike, settings: Settings<Tx>): void {
  if (settings.idempotency === undefined) return
  const { scope, ...options } = settings.idempotency
  const routes = idempotency<Tx>(settings.app, options)
  const ofAll = scope === undefined ? {} : { scope }
  const once = async function (
    this: FastifyReplyLike,
    ...[work, own]: Parameters<OnceOfReply<Tx>['once']>
  ): Promise<unknown> {
    if (typeof work !== 'function')
      throw invalidOption('reply.once()', 'expected a function that returns a Response')
    const ofThis = { ...own, ...(own?.scope === undefined ? ofAll : {}) }
    const route = routes.fastify((_request, tx, sender) => work(tx, sender), ofThis)
    return await route(this.request, this)
  }
  web.decorateReply('once', once)
}

function monitorRoutes<Tx>(
  web: FastifyLike,
  { app, live, ready, metrics }: Settings<Tx>,
): Disposable | undefined {
  if (live === undefined && ready === undefined && metrics === undefined) return undefined
  const pages = monitoring(app)
  for (const [url, page] of [
    [live, pages.live],
    [ready, pages.ready],
    [metrics, pages.metrics],
  ] as const)
    if (url !== undefined) monitorRoute(web, url, page)
  return pages
}

/** Who asks every few seconds shall not fill the log. */
function monitorRoute(web: FastifyLike, url: string, page: MonitorRoute): void {
  web.route({
    method: 'GET',
    url,
    logLevel: 'warn',
    async handler(request, reply) {
      reply.hijack()
      await page.node(request.raw, reply.raw)
    },
  })
}

function mountDashboard<Tx>(
  web: FastifyLike,
  { app }: Settings<Tx>,
  options: FastifyDashboard,
): Disposable {
  const ui = dashboard({ ...options, apps: [app] })
  for (const url of [options.path, `${options.path}/*`])
    web.route({
      method: ['GET', 'POST'],
      url,
      async handler(request, reply) {
        reply.hijack()
        await ui.node(request.raw, reply.raw, request.body)
      },
    })
  return ui
}
