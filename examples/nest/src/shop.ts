/**
 * A shop, as each of the three libraries has it: orders over HTTP, an event in the transaction of
 * the order, and a handler that works in a transaction of the library.
 */
import 'reflect-metadata'
import {
  Body,
  Controller,
  Get,
  type INestApplication,
  Injectable,
  Module,
  Post,
  type Type,
  UnprocessableEntityException,
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus'
import { Mersal, event } from 'mersal' // +
import { healthIndicator } from 'mersal/nestjs' // +
import pg from 'pg'

export const DATABASE_URL = process.env['DATABASE_URL']!

export interface Placed {
  readonly order: number
  readonly item: string
}
export const OrderPlaced = event<Placed>('orders.placed') // +

export interface OrderView {
  readonly id: number
  readonly item: string
  readonly shipped: boolean
}

/** What each library does in its own way. */
export abstract class Shop {
  /** Places an order and publishes that, in one transaction. Resolves to its number. */
  abstract place(item: string): Promise<number>
  abstract orders(): Promise<readonly OrderView[]>
}

/** The last step of a transaction that has published already. */
export function checkStock(item: string): void {
  if (item === 'unicorn') throw new UnprocessableEntityException('there are no unicorns')
}

@Controller('orders')
export class OrdersController {
  constructor(private readonly shop: Shop) {}

  @Post()
  async place(@Body() { item }: { item: string }): Promise<{ order: number }> {
    return { order: await this.shop.place(item) }
  }

  @Get()
  orders(): Promise<readonly OrderView[]> {
    return this.shop.orders()
  }
}

@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly mersal: Mersal, // +
  ) {}

  @Get()
  @HealthCheck()
  check() {
    return this.health.check([healthIndicator(this.mersal)]) // +
  }
}

/** Connections of the relay. They are closed after the app, since it imports their module. */
// #region mersal
@Injectable()
export class RelayPool {
  readonly pool = new pg.Pool({ connectionString: DATABASE_URL, max: 4 })

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end()
    console.log('pool closed')
  }
}

@Module({ providers: [RelayPool], exports: [RelayPool] })
export class RelayPoolModule {}
// #endregion

/** What the three programs have in common. */
export const web = {
  imports: [TerminusModule],
  controllers: [OrdersController, HealthController],
}

export async function main(module: Type): Promise<INestApplication> {
  const nest = await NestFactory.create(module, { logger: ['error', 'fatal'] })
  nest.enableShutdownHooks()
  await nest.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1')
  console.log(`listens on ${await nest.getUrl()}`)
  return nest
}
