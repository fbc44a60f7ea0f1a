import { EntitySchema, MikroORM, type SqlEntityManager } from '@mikro-orm/postgresql'
import { mikroOrm } from '../../src/sql/sessions/mikro-orm.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

const Business = new EntitySchema<{ text: string }>({
  name: 'Business',
  tableName: 'business',
  properties: { text: { type: 'text', primary: true } },
})

sessionSuite<SqlEntityManager>('MikroORM 7', async ({ schema }, url) => {
  const orm = await MikroORM.init({
    clientUrl: url,
    schema,
    entities: [Business],
    pool: { min: 0, max: 3 },
  })
  return {
    session: mikroOrm<SqlEntityManager>(orm.em),
    transaction: (work) => orm.em.fork().transactional((em) => work(em)),
    insert: async (em, text) => void (await em.insert(Business, { text })),
    savepoint: (em, work) => em.transactional((inner) => work(inner)),
    fail: async (em) => void (await em.execute('select 1 / 0')),
    end: async (em, text) => void (await em.execute(text)),
    endingCalls: [(em) => em.begin(), (em) => em.commit(), (em) => em.rollback()],
    harmless: async (em) => void (await em.execute('select ?::text', ['x; commit'])),
    writesUntilCommit: true,
    roots: [orm.em, orm.em.fork()],
    close: () => orm.close(),
  }
})
