import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RowDataPacket } from 'mysql2/promise'
import { expect, test } from 'vitest'
import { sqliteQueue } from '../../src/sqlite.ts'
import { serverAnswers, testDatabase } from '../../test/mysql/server.ts'
import { Listener } from '../listen.ts'
import { openRegistrar, register, registerMany, StudentRegistered } from './main.ts'

test.skipIf(!(await serverAnswers()))(
  'the event exists if and only if the student does, on MariaDB',
  async ({ onTestFinished }) => {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    await using database = await testDatabase()
    await using listener = await new Listener(folder).listen(StudentRegistered.name)
    await using broker = sqliteQueue({ path: `${folder}/broker.db` })
    const app = await openRegistrar(database.pool, broker)

    await register(app, 'Ada')
    await expect(register(app, 'Ada')).rejects.toMatchObject({ code: 'ER_DUP_ENTRY' })
    await registerMany(app, database.pool, ['Grace', 'Edsger'])
    await expect(registerMany(app, database.pool, ['Barbara', 'Ada'])).rejects.toThrow()

    expect(await listener.until(3)).toEqual([
      { name: 'Ada' },
      { name: 'Grace' },
      { name: 'Edsger' },
    ])
    // A plain client reads back what is left.
    const [students] = await database.pool.query<RowDataPacket[]>(
      'select name from students order by id',
    )
    expect(students.map(({ name }) => String(name))).toEqual(['Ada', 'Grace', 'Edsger'])
    await app.stop()
    expect(await database.query('select * from mersal_outbox')).toEqual([])
  },
)
