import 'reflect-metadata'
import { DatabaseSync } from 'node:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  Controller,
  type INestApplication,
  Injectable,
  Module,
  type ModuleMetadata,
  Post,
  Scope,
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { afterEach, describe, expect, test } from 'vitest'
import { type HandlerContext, Mersal, command, event } from '../../src/index.ts'
import { memoryNetwork } from '../../src/memory.ts'
import { Handles, InjectMersal, MersalModule } from '../../src/nestjs.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { drain } from '../../src/testing/index.ts'

// A decorator is a function, so the tests call it where a program would write it with an `@`.
const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')

const folders: string[] = []
const apps: Pick<INestApplication, 'close'>[] = []
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-nest-'))
  folders.push(folder)
  return folder
}

function moduleOf(metadata: ModuleMetadata): new () => object {
  // oxlint-disable-next-line typescript/no-extraneous-class -- Nest takes modules as classes
  class Root {}
  Module(metadata)(Root)
  return Root
}

async function create(metadata: ModuleMetadata): Promise<INestApplication> {
  const options = { logger: false, abortOnError: false } as const
  const app = await NestFactory.create(moduleOf(metadata), options)
  apps.push(app)
  return app
}

/** Decorates a method as the compiler does for `@decorator` before it. */
function decorate(target: object, method: string, ...decorators: unknown[]): void {
  const descriptor = Object.getOwnPropertyDescriptor(target, method)!
  for (const one of decorators.toReversed())
    (one as (of: object, name: string, is: PropertyDescriptor) => void)(target, method, descriptor)
  Object.defineProperty(target, method, descriptor)
}

describe('an app in a program of Nest', () => {
  test('handles, sends from a controller, and stops after the last request', async () => {
    const folder = newFolder()
    const steps: string[] = []

    class Database {
      readonly handle = new DatabaseSync(join(folder, 'shop.db'))
      constructor() {
        this.handle.exec('create table orders (id integer not null)')
      }
      onApplicationShutdown(): void {
        steps.push(`database closed, app ${mersal.state}`)
        this.handle.close()
      }
    }
    Injectable()(Database)
    const DatabaseModule = moduleOf({ providers: [Database], exports: [Database] })

    class Orders {
      place({ id }: { id: number }, { tx, publish }: HandlerContext<DatabaseSync>) {
        tx.prepare('insert into orders values (?)').run(id)
        return publish(Placed, { id })
      }
      placed({ id }: { id: number }): void {
        steps.push(`placed ${id}`)
      }
    }
    Injectable()(Orders)
    decorate(Orders.prototype, 'place', Handles(Place))
    decorate(Orders.prototype, 'placed', Handles(Placed, { batch: 2 }))

    const release = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    class Shop {
      readonly #app: Mersal<DatabaseSync>
      constructor(app: Mersal<DatabaseSync>) {
        this.#app = app
      }
      async post(): Promise<string> {
        arrived.resolve()
        await release.promise
        return await this.#app.transaction((_, { send }) => send(Place, { id: 7 }))
      }
    }
    Controller('orders')(Shop)
    InjectMersal()(Shop, undefined, 0)
    decorate(Shop.prototype, 'post', Post())

    const nest = await create({
      imports: [
        MersalModule.forRootAsync<DatabaseSync>({
          imports: [DatabaseModule],
          inject: [Database],
          useFactory: ({ handle }: Database) => ({
            name: 'shop',
            store: sqlite({ path: handle.location()! }),
            transport: sqliteQueue({ path: join(folder, 'queue.db') }),
            logger: false,
          }),
        }),
      ],
      providers: [Orders],
      controllers: [Shop],
    })
    await nest.listen(0, '127.0.0.1')
    const mersal = nest.get<Mersal<DatabaseSync>>(Mersal)
    expect(mersal.state).toBe('running')

    const address = await nest.getUrl()
    const response = fetch(`${address}/orders`, {
      method: 'POST',
      headers: { connection: 'close' },
    })
    await arrived.promise
    const closed = nest.close()
    release.resolve()
    const answered = await response
    expect(answered.status).toBe(201)
    expect(await answered.text()).toMatch(/^[0-9a-f-]{36}$/)
    await closed
    expect(steps.at(-1)).toBe('database closed, app stopped')

    // What was committed in the last request is handled by the next start.
    using database = new DatabaseSync(join(folder, 'shop.db'))
    const again = await create({
      imports: [
        MersalModule.forRoot<DatabaseSync>({
          name: 'shop',
          store: sqlite({ path: join(folder, 'shop.db') }),
          transport: sqliteQueue({ path: join(folder, 'queue.db') }),
          logger: false,
        }),
      ],
      providers: [Orders],
    })
    await again.init()
    await drain(again.get(Mersal))
    expect(database.prepare('select id from orders').all()).toMatchObject([{ id: 7 }])
    expect(steps).toContain('placed 7')
  })

  test('a second app has a name, handlers of its own, and its own place in constructors', async () => {
    const network = memoryNetwork()
    const steps: string[] = []
    class Billing {
      readonly #shop: Mersal
      constructor(shop: Mersal) {
        this.#shop = shop
      }
      bill({ id }: { id: number }): void {
        steps.push(`${this.#shop.name} sent ${id}`)
      }
    }
    Injectable()(Billing)
    InjectMersal('shop')(Billing, undefined, 0)
    decorate(Billing.prototype, 'bill', Handles(Place, { app: 'billing' }))
    const nest = await create({
      imports: [
        MersalModule.forRoot(
          { name: 'web', transport: network.transport(), routes: { 'orders.place': 'bills' } },
          { app: 'shop', start: false },
        ),
        MersalModule.forRoot({ name: 'bills', transport: network.transport() }, { app: 'billing' }),
      ],
      providers: [Billing],
    })
    await nest.init()
    const shop = nest.get<Mersal>('mersal:shop')
    expect([shop.state, nest.get<Mersal>('mersal:billing').state]).toEqual(['idle', 'running'])
    await shop.send(Place, { id: 3 })
    await drain(nest.get<Mersal>('mersal:billing'))
    expect(steps).toEqual(['web sent 3'])
  })

  test('methods of a parent class handle, and what overrides one is called', async () => {
    const network = memoryNetwork()
    const calls: string[] = []
    class Parent {
      place(): void {
        calls.push('parent')
      }
    }
    decorate(Parent.prototype, 'place', Handles(Place))
    class Child extends Parent {
      override place(): void {
        calls.push('child')
      }
    }
    Injectable()(Child)
    const nest = await create({
      imports: [MersalModule.forRoot({ name: 'orders', transport: network.transport() })],
      providers: [Child, { provide: 'alias', useExisting: Child }],
    })
    await nest.init()
    const app = nest.get<Mersal>(Mersal)
    await app.send(Place, { id: 1 })
    await drain(app)
    expect(calls).toEqual(['child'])
  })

  test('a handler in the scope of a request is refused at the start, and nothing runs', async () => {
    class Orders {
      place(): void {}
    }
    Injectable({ scope: Scope.REQUEST })(Orders)
    decorate(Orders.prototype, 'place', Handles(Place))
    const nest = await create({
      imports: [MersalModule.forRoot({ name: 'orders', transport: memoryNetwork().transport() })],
      providers: [Orders],
    })
    await expect(nest.init()).rejects.toThrow(
      "@Handles() of 'place' in Orders: a message has no request",
    )
    expect(nest.get<Mersal>(Mersal).state).toBe('idle')
  })

  test('a transient handler is refused at the start: it has an instance for each user', async () => {
    class Orders {
      place(): void {}
    }
    Injectable({ scope: Scope.TRANSIENT })(Orders)
    decorate(Orders.prototype, 'place', Handles(Place))
    const nest = await create({
      imports: [MersalModule.forRoot({ name: 'orders', transport: memoryNetwork().transport() })],
      providers: [Orders],
    })
    await expect(nest.init()).rejects.toThrow("@Handles() of 'place' in Orders: a transient")
    expect(nest.get<Mersal>(Mersal).state).toBe('idle')
  })

  test('a handler of an app that no module has is refused at the start, with the nearest name', async () => {
    class Orders {
      place(): void {}
    }
    Injectable()(Orders)
    decorate(Orders.prototype, 'place', Handles(Place, { app: 'biling' }))
    const transport = memoryNetwork().transport()
    const nest = await create({
      imports: [MersalModule.forRoot({ name: 'orders', transport }, { app: 'billing' })],
      providers: [Orders],
    })
    await expect(nest.init()).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining(
        "@Handles() of 'place' in Orders: no module has the app 'biling'; did you mean 'billing'?",
      ) as string,
    })
    expect(nest.get<Mersal>('mersal:billing').state).toBe('idle')
  })

  test('what could not work is refused with the field', () => {
    // oxlint-disable-next-line typescript/no-extraneous-class -- a mistake that is refused
    class Orders {
      static place(): void {}
    }
    const descriptor = Object.getOwnPropertyDescriptor(Orders, 'place')!
    expect(() => Handles(Place)(Orders, 'place', descriptor)).toThrow('a method of the instance')
    const module = (options: object) => () => MersalModule.forRootAsync(options as never)
    expect(module({ useFactory: 1 })).toThrow('useFactory: expected a function')
    expect(module({ useFactory() {}, app: '' })).toThrow('app: expected a name')
    expect(module({ useFactory() {}, inports: [] })).toThrow("did you mean 'imports'")
  })
})
