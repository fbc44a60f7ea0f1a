/** NestJS with Prisma: `$transaction()` holds the order and the event. */
import { Global, Injectable, Module } from '@nestjs/common'
import { PrismaPg } from '@prisma/adapter-pg'
import { type HandlerContext, Mersal } from 'mersal' // +
import { Handles, MersalModule } from 'mersal/nestjs' // +
import { postgres } from 'mersal/postgres' // +
import { prisma } from 'mersal/prisma' // +
import { rabbitmq } from 'mersal/rabbitmq' // +
import { type Prisma, PrismaClient } from './generated/client.js'
import {
  checkStock,
  DATABASE_URL,
  main,
  OrderPlaced,
  type OrderView,
  type Placed,
  RelayPool,
  RelayPoolModule,
  Shop,
  web,
} from './shop.js'

/** As the pages of Nest have it, but closed after the HTTP server and the app. */
@Injectable()
class PrismaService extends PrismaClient {
  constructor() {
    super({ adapter: new PrismaPg({ connectionString: DATABASE_URL }) })
  }

  async onModuleInit(): Promise<void> {
    await this.$connect()
    // In your program: migrations.
    await this.$executeRaw`create table if not exists orders (
      id serial primary key, item text not null, shipped boolean not null default false)`
  }

  async onApplicationShutdown(): Promise<void> {
    await this.$disconnect()
  }
}

@Global()
@Module({ providers: [PrismaService], exports: [PrismaService] })
class PrismaModule {}

@Injectable()
class PrismaShop extends Shop {
  constructor(
    private readonly db: PrismaService,
    private readonly mersal: Mersal<Prisma.TransactionClient>, // +
  ) {
    super()
  }

  place(item: string): Promise<number> {
    return this.db.$transaction(async (tx) => {
      const { id } = await tx.order.create({ data: { item } })
      await this.mersal.within(tx).publish(OrderPlaced, { order: id, item }) // +
      checkStock(item)
      return id
    })
  }

  orders(): Promise<readonly OrderView[]> {
    return this.db.order.findMany({ orderBy: { id: 'asc' } })
  }

  @Handles(OrderPlaced)
  async ship(
    { order }: Placed,
    { tx, afterCommit }: HandlerContext<Prisma.TransactionClient>,
  ): Promise<void> {
    await tx.order.update({ where: { id: order }, data: { shipped: true } })
    afterCommit(() => console.log(`shipped ${order}`))
  }
}

@Module({
  imports: [
    ...web.imports,
    PrismaModule,
    // #region mersal
    MersalModule.forRootAsync<Prisma.TransactionClient>({
      imports: [RelayPoolModule],
      inject: [RelayPool, PrismaService],
      useFactory: ({ pool }: RelayPool, db: PrismaService) => ({
        name: 'shop',
        store: postgres({ pool, session: prisma<Prisma.TransactionClient>(db) }),
        transport: rabbitmq({ url: process.env['AMQP_URL']! }),
      }),
    }),
    // #endregion
  ],
  controllers: web.controllers,
  providers: [{ provide: Shop, useClass: PrismaShop }],
})
class AppModule {}

await main(AppModule)
