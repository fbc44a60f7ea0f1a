import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { prisma } from '../../src/sql/sessions/prisma.ts'
import { Prisma, PrismaClient } from '../mysql/prisma/generated/client.ts'
import { mysqlSessionSuite } from '../mysql/session-suite.ts'
import { plainSavepoint } from '../postgres/plain-savepoint.ts'

type Tx = Prisma.TransactionClient

mysqlSessionSuite<Tx>('Prisma 7', async ({ url }) => {
  const { hostname: host, port, username: user, password, pathname } = new URL(url)
  const database = pathname.slice(1)
  const client = new PrismaClient({
    // Its own are 2 s and 5 s. The tests decide how long something takes.
    transactionOptions: { maxWait: 20_000, timeout: 60_000 },
    adapter: new PrismaMariaDb({
      host,
      port: Number(port),
      user,
      password,
      database,
      connectionLimit: 3,
    }),
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
    fail: async (tx) => void (await tx.$queryRaw`select * from nowhere`),
    end: async (tx, text) => void (await tx.$executeRawUnsafe(text)),
    endingCalls: [
      (tx) => tx.$executeRaw`commit`,
      (tx) => tx.$executeRaw`${Prisma.raw('commit')}`,
      (tx) => tx.$queryRaw(Prisma.sql`select ${1}; rollback`),
    ],
    roots: [client, ended],
    close: () => client.$disconnect(),
  }
})
