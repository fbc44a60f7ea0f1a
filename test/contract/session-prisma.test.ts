import { PrismaPg } from '@prisma/adapter-pg'
import { prisma } from '../../src/sql/sessions/prisma.ts'
import { type Prisma, PrismaClient } from '../postgres/prisma/generated/client.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

type Tx = Prisma.TransactionClient

sessionSuite<Tx>('Prisma 7', async ({ schema }, url) => {
  const client = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 3 }, { schema }) })
  const ended = await client.$transaction((tx) => Promise.resolve(tx))
  const savepoint = async (tx: Tx, work: (inner: Tx) => Promise<void>): Promise<void> => {
    await tx.$executeRaw`savepoint inner_one`
    try {
      await work(tx)
      await tx.$executeRaw`release savepoint inner_one`
    } catch (error) {
      await tx.$executeRaw`rollback to savepoint inner_one`
      throw error
    }
  }
  return {
    session: prisma<Tx>(client),
    transaction: (work) => client.$transaction(work),
    insert: async (tx, text) => void (await tx.business.create({ data: { text } })),
    savepoint,
    fail: async (tx) => void (await tx.$queryRaw`select 1 / 0`),
    roots: [client, ended],
    close: () => client.$disconnect(),
  }
})
