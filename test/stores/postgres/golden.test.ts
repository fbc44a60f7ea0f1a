import { expect, test } from 'vitest'
import { lastStatements } from '../../../src/stores/postgres/last/last-statements.ts'
import { statements } from '../../../src/stores/postgres/statements/statements.ts'
import { postgresMigrationSql } from '../../../src/postgres.ts'

/**
 * Every statement and the schema, as they are sent: a change shows in review. `vitest run
 * test/stores/postgres/golden.test.ts --update` writes the files anew.
 */
const golden = (name: string): string => `../../golden/postgres/${name}.sql`

test('the printed migration is the one of the golden file', async () => {
  await expect(postgresMigrationSql()).toMatchFileSnapshot(golden('schema'))
})

test('every statement is the one of the golden file', async () => {
  const text = Object.entries(statements('mersal')).map(
    ([name, sql]) => `-- ${name}\n${sql.trim()};\n`,
  )
  await expect(text.join('\n')).toMatchFileSnapshot(golden('statements'))
})

test('every statement in the flight of a commit is the one of the golden file', async () => {
  const text = Object.entries(lastStatements('mersal', true)).map(
    ([name, { text: sql }]) => `-- ${name}\n${sql};\n`,
  )
  await expect(text.join('\n')).toMatchFileSnapshot(golden('last-statements'))
})
