import { describe, expect, test } from 'vitest'
import { postgresDialect, sqliteDialect } from '../../../../src/sql/units/statement-scan.ts'
import { controlsOf, endingOf } from '../../../../src/sql/units/transaction-words.ts'

const ends = (text: string): string | undefined => endingOf(text, postgresDialect)

describe('what a statement does to its transaction', () => {
  test.each([
    'commit',
    'COMMIT',
    ' \n\t;;Commit;',
    'commit work',
    'commit and chain',
    "commit prepared 'x'",
    'END',
    'end;',
    '/* a */ commit',
    '/* a /* b */ */ commit',
    '-- a\ncommit',
    '--\r\n  -- b\ncommit',
    '\ufeffcommit',
    'COMMIT--x',
    'commit/**/work',
    'rollback',
    'ROLLBACK WORK',
    'rollback transaction',
    'rollback and chain',
    'abort',
    'Abort Work',
    'begin',
    'BEGIN ISOLATION LEVEL SERIALIZABLE',
    'start transaction',
    "prepare transaction 'x'",
    'start/**/transaction',
    "insert into t values (';'); commit",
    'select 1;commit',
    'rollback; begin',
    'select $$;$$; end',
    'savepoint a; commit',
    "select 'it''s;'; commit",
    "select e'\\';'; commit",
    'select ";"; commit',
    'select $a$ $b$ ; $a$; commit',
    'select (1); commit',
  ])('ends it: %j', (text) => {
    expect(ends(text)).toBeTypeOf('string')
  })

  test.each([
    'select 1',
    'select 1;',
    "select ';commit'",
    "insert into t values ('; commit')",
    'select $$; commit;$$',
    'select $x$; commit; $x$',
    '-- commit\nselect 1',
    '/* ; commit */ select 1',
    'select /* ; commit */ 1',
    "select e'\\'; commit'",
    'select "; commit"',
    'rollback to a',
    'ROLLBACK WORK TO SAVEPOINT a',
    'rollback transaction to a',
    'savepoint a',
    'release a',
    'release savepoint a',
    'prepare x as select 1',
    'prepare x (int) as select 1',
    'commitment',
    'explain select 1',
    '',
    ';',
    '/* commit',
    "'commit",
    'do $$ begin perform 1; end $$',
    'create function f() returns int language sql begin atomic select 1; select 2; end',
    'create rule r as on insert to t do (select 1; select 2)',
    "create function f() returns int as 'begin return 1; end' language plpgsql",
    'with begin as (select 1) select * from begin',
    'declare c cursor for select 1',
    'fetch 1 from c',
    'lock table t',
  ])('leaves it alone: %j', (text) => {
    expect(ends(text)).toBeUndefined()
  })

  test.each([
    ['savepoint A', [{ kind: 'savepoint', name: 'a' }], false],
    ['savepoint "A ""b"""', [{ kind: 'savepoint', name: 'A "b"' }], false],
    ['/* x */ release savepoint "a"', [{ kind: 'release', name: 'a' }], false],
    ['rollback work to savepoint a', [{ kind: 'rollback to', name: 'a' }], false],
    ['savepoint a; select 1', [{ kind: 'savepoint', name: 'a' }], true],
    [
      'rollback to a; savepoint b',
      [
        { kind: 'rollback to', name: 'a' },
        { kind: 'savepoint', name: 'b' },
      ],
      true,
    ],
  ])('reads %j', (text, all, mixed) => {
    expect(controlsOf(text, postgresDialect)).toEqual({ all, mixed })
  })

  test('reads the texts of SQLite by its own rules', () => {
    const trigger =
      'create trigger t after insert on a begin insert into b select case when 1 then 2 end; delete from c; end; commit'
    expect(endingOf(trigger.replace('; commit', ''), sqliteDialect)).toBeUndefined()
    expect(endingOf(trigger, sqliteDialect)).toBe('commit')
    expect(
      endingOf(
        'create temp trigger if not exists t after insert on a begin select 1; end',
        sqliteDialect,
      ),
    ).toBeUndefined()
    expect(endingOf('/* /* */ commit', sqliteDialect)).toBe('commit')
    expect(endingOf('select [;commit], `;commit`', sqliteDialect)).toBeUndefined()
    expect(controlsOf('savepoint [A b]', sqliteDialect)?.all).toEqual([
      { kind: 'savepoint', name: 'a b' },
    ])
    expect(controlsOf("savepoint 'A'", sqliteDialect)?.all).toEqual([
      { kind: 'savepoint', name: 'a' },
    ])
  })
})
