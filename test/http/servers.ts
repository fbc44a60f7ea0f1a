import { once } from 'node:events'
import type { AddressInfo, Server } from 'node:net'
import { serve } from '@hono/node-server'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import type { UnitSender } from '../../src/index.ts'
import { idempotency, type IdempotencyOptions, type OnceApp } from '../../src/http.ts'

/** What the handlers of all servers do. */
export interface Order<Tx> {
  (body: unknown, tx: Tx, sender: UnitSender): Promise<Response>
}

export interface TestServer extends AsyncDisposable {
  readonly url: string
}

type Open = <Tx>(
  app: OnceApp<Tx>,
  order: Order<Tx>,
  options?: IdempotencyOptions,
) => Promise<TestServer>

const urlOf = (server: Pick<Server, 'address'>): string =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`

/** Each serves `POST /orders`, and takes the user of the header `x-user` for the scope. */
export const servers: Readonly<Record<string, Open>> = {
  'Express 5': async (app, order, options) => {
    const web = express()
    web.use(express.json(), express.raw({ type: 'application/octet-stream' }))
    web.post(
      '/orders',
      idempotency(app, options).express(
        (request: express.Request, tx, sender) => order(request.body, tx, sender),
        { scope: (request) => request.get('x-user') ?? 'nobody' },
      ),
    )
    const quiet: express.ErrorRequestHandler = (error: Error, _request, response, _next) =>
      void response.status(500).send(error.message)
    web.use(quiet)
    const server = web.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      url: urlOf(server),
      async [Symbol.asyncDispose]() {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
  'Fastify 5': async (app, order, options) => {
    const web = Fastify({ forceCloseConnections: true })
    web.addContentTypeParser(
      'application/octet-stream',
      { parseAs: 'buffer' },
      (_request, body, done) => done(null, body),
    )
    web.post(
      '/orders',
      idempotency(app, options).fastify((request, tx, sender) => order(request.body, tx, sender), {
        scope: ({ headers }) => String(headers['x-user'] ?? 'nobody'),
      }),
    )
    return {
      url: await web.listen({ port: 0, host: '127.0.0.1' }),
      [Symbol.asyncDispose]: () => web.close(),
    }
  },
  'Hono 4': async (app, order, options) => {
    const web = new Hono()
    const bodyOf = async (request: Request): Promise<unknown> =>
      request.headers.get('content-type') === 'application/json' ? request.json() : undefined
    web.post(
      '/orders',
      idempotency(app, options).hono(
        async (context, tx, sender) => order(await bodyOf(await freshOf(context)), tx, sender),
        { scope: (context) => context.req.header('x-user') ?? 'nobody' },
      ),
    )
    web.onError((error) => new Response(error.message, { status: 500 }))
    const server = serve({ fetch: web.fetch, port: 0, hostname: '127.0.0.1' })
    await once(server, 'listening')
    return {
      url: urlOf(server),
      async [Symbol.asyncDispose]() {
        if ('closeAllConnections' in server) server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
}

interface Context {
  readonly req: { header(name: string): string | undefined; arrayBuffer(): Promise<ArrayBuffer> }
}

/** The body again, as a handler would read it after the fingerprint was made. */
const freshOf = async ({ req }: Context): Promise<Request> =>
  new Request('http://here/', {
    method: 'POST',
    body: await req.arrayBuffer(),
    headers: { 'content-type': req.header('content-type') ?? '' },
  })
