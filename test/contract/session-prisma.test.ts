import { PrismaPg } from '@prisma/adapter-pg'
import { prisma } from '../../src/sql/sessions/prisma.ts'
import { Prisma, PrismaClient } from '../postgres/prisma/generated/client.ts'
import { plainSavepoint } from '../postgres/plain-savepoint.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

type Tx = Prisma.TransactionClient

sessionSuite<Tx>('Prisma 7', async ({ schema }, url) => {
  const client = new PrismaClient({
    // Its own are 2 s and 5 s. The tests decide how long something takes.
    transactionOptions: { maxWait: 20_000, timeout: 60_000 },
    adapter: new PrismaPg({ connectionString: url, max: 3 }, { schema }),
  })
  const ended = await client.$transaction((tx) => Promise.resolve(tx))
  return {
    session: prisma<Tx>(client),
    transaction: (work) => client.$transaction(work),
    insert: async (tx, text) => void (await tx.business.create({ data: { text } })),
    savepoint: (tx, work) =>
      plainSavepoint(
        (text) => tx.$executeRawUnsafe(text),
        () => work(tx),
      ),
    fail: async (tx) => void (await tx.$queryRaw`select 1 / 0`),
    end: async (tx, text) => void (await tx.$executeRawUnsafe(text)),
    endingCalls: [
      (tx) => tx.$executeRaw`commit`,
      (tx) => tx.$executeRaw`${Prisma.raw('commit')}`,
      (tx) => tx.$queryRaw(Prisma.sql`select ${1}; rollback`),
    ],
    harmless: async (tx) => void (await tx.$queryRaw`select ${'x; commit'}::text`),
    roots: [client, ended],
    close: () => client.$disconnect(),
  }
})
