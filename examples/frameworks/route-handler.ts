/**
 * Route handlers of web requests, as `app/orders/route.ts` of Next.js and other functions have them:
 * `POST` places an order, `GET` is called by a clock and publishes what a request had to leave. No
 * relay runs, and the app is never started.
 */
import { placeOrder, shopApp } from './shop.ts'

export function routeHandlers(folder: string) {
  const app = shopApp(folder, false)
  return {
    POST: async (request: Request): Promise<Response> => {
      const { item } = (await request.json()) as { item: string }
      const placed = await app.transaction((tx, sender) => placeOrder(item, tx, sender))
      await app.drain({ maxMessages: 20, deadlineMs: 5000 })
      return Response.json(placed, { status: 201 })
    },
    GET: async (): Promise<Response> => Response.json(await app.drain({ deadlineMs: 20_000 })),
    /** Where the platform tells of the end of a process. */
    close: () => app.stop(),
  }
}
