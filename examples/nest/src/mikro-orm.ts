/** NestJS with MikroORM: `em.transactional()` holds the order and the event. */
import { EntityManager, MikroORM, PostgreSqlDriver, defineEntity, p } from '@mikro-orm/postgresql'
import { MikroOrmModule } from '@mikro-orm/nestjs'
import { Injectable, Module } from '@nestjs/common'
import { type HandlerContext, Mersal } from 'mersal' // +
import { mikroOrm } from 'mersal/mikro-orm' // +
import { Handles, MersalModule } from 'mersal/nestjs' // +
import { postgres } from 'mersal/postgres' // +
import { rabbitmq } from 'mersal/rabbitmq' // +
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

const Order = defineEntity({
  name: 'Order',
  tableName: 'orders',
  properties: {
    id: p.integer().primary(),
    item: p.text(),
    shipped: p.boolean().default(false),
  },
})

@Injectable()
class MikroOrmShop extends Shop {
  constructor(
    /** Of the request: the module makes a fork for each. */
    private readonly em: EntityManager,
    private readonly mersal: Mersal<EntityManager>, // +
  ) {
    super()
  }

  place(item: string): Promise<number> {
    return this.em.transactional(async (tx) => {
      const order = tx.create(Order, { item })
      await tx.flush()
      await this.mersal.within(tx).publish(OrderPlaced, { order: order.id, item }) // +
      checkStock(item)
      return order.id
    })
  }

  orders(): Promise<readonly OrderView[]> {
    return this.em.findAll(Order, { orderBy: { id: 'asc' } })
  }

  @Handles(OrderPlaced)
  async ship({ order }: Placed, { tx, afterCommit }: HandlerContext<EntityManager>): Promise<void> {
    const found = await tx.findOneOrFail(Order, order)
    found.shipped = true
    afterCommit(() => console.log(`shipped ${order}`))
  }
}

/** Makes the table. In your program: migrations. */
@Injectable()
class Tables {
  constructor(private readonly orm: MikroORM) {}

  async onModuleInit(): Promise<void> {
    await this.orm.schema.update({ safe: true, dropTables: false })
  }
}

@Module({
  imports: [
    ...web.imports,
    MikroOrmModule.forRoot({
      driver: PostgreSqlDriver,
      clientUrl: DATABASE_URL,
      entities: [Order],
    }),
    // #region mersal
    MersalModule.forRootAsync<EntityManager>({
      imports: [RelayPoolModule],
      inject: [RelayPool, MikroORM],
      useFactory: ({ pool }: RelayPool, orm: MikroORM) => ({
        name: 'shop',
        store: postgres({ pool, session: mikroOrm<EntityManager>(orm.em) }),
        transport: rabbitmq({ url: process.env['AMQP_URL']! }),
      }),
    }),
    // #endregion
  ],
  controllers: web.controllers,
  providers: [Tables, { provide: Shop, useClass: MikroOrmShop }],
})
class AppModule {}

await main(AppModule)
