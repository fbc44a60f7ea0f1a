/** NestJS with TypeORM: `dataSource.transaction()` holds the order and the event. */
import { Injectable, Module } from '@nestjs/common'
import { TypeOrmModule } from '@nestjs/typeorm'
import { type HandlerContext, Mersal } from 'mersal' // +
import { Handles, MersalModule } from 'mersal/nestjs' // +
import { postgres } from 'mersal/postgres' // +
import { rabbitmq } from 'mersal/rabbitmq' // +
import { typeorm } from 'mersal/typeorm' // +
import { Column, DataSource, Entity, type EntityManager, PrimaryGeneratedColumn } from 'typeorm'
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

@Entity({ name: 'orders' })
class Order {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text')
  item!: string

  @Column('boolean', { default: false })
  shipped!: boolean
}

@Injectable()
class TypeormShop extends Shop {
  constructor(
    private readonly db: DataSource,
    private readonly mersal: Mersal<EntityManager>, // +
  ) {
    super()
  }

  place(item: string): Promise<number> {
    return this.db.transaction(async (tx) => {
      const { id } = await tx.save(Order, { item })
      await this.mersal.within(tx).publish(OrderPlaced, { order: id, item }) // +
      checkStock(item)
      return id
    })
  }

  orders(): Promise<readonly OrderView[]> {
    return this.db.manager.find(Order, { order: { id: 'asc' } })
  }

  @Handles(OrderPlaced)
  async ship({ order }: Placed, { tx, afterCommit }: HandlerContext<EntityManager>): Promise<void> {
    await tx.update(Order, order, { shipped: true })
    afterCommit(() => console.log(`shipped ${order}`))
  }
}

@Module({
  imports: [
    ...web.imports,
    TypeOrmModule.forRoot({
      type: 'postgres',
      url: DATABASE_URL,
      entities: [Order],
      synchronize: true, // in your program: migrations
    }),
    // #region mersal
    MersalModule.forRootAsync<EntityManager>({
      imports: [RelayPoolModule],
      inject: [RelayPool, DataSource],
      useFactory: ({ pool }: RelayPool, db: DataSource) => ({
        name: 'shop',
        store: postgres({ pool, session: typeorm(db) }),
        transport: rabbitmq({ url: process.env['AMQP_URL']! }),
      }),
    }),
    // #endregion
  ],
  controllers: web.controllers,
  providers: [{ provide: Shop, useClass: TypeormShop }],
})
class AppModule {}

await main(AppModule)
