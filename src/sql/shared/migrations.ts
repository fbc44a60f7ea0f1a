import { MersalError } from '../../core/errors/errors.ts'
import type { SchemaControl } from '../../core/operations.ts'

/** `auto`: bring the tables up to date. `check`: throw unless they are. `off`: trust. */
export type MigrateMode = 'auto' | 'check' | 'off'

/** One step of a list, numbered from 1. What has been released is never changed. */
export interface NamedStep {
  readonly version: number
  readonly name: string
}

export interface Step extends NamedStep {
  readonly sql: string
}

/** Tables that live and grow together. */
export interface Tables<One extends NamedStep = Step> {
  /** Begins the texts of errors, such as `postgres`. */
  readonly name: string
  /** Which tables, such as `in schema 'mersal'` or `of the store`. */
  readonly place: string
  readonly steps: readonly One[]
}

export const newest = ({ steps }: Tables<NamedStep>): number => steps.at(-1)?.version ?? 0

/**
 * The steps after this version. Throws `MERSAL_SCHEMA_TOO_NEW` if a newer Mersal has been here.
 */
export function missingSteps<One extends NamedStep>(
  tables: Tables<One>,
  found: number,
): readonly One[] {
  const known = newest(tables)
  if (found <= known) return tables.steps.filter(({ version }) => version > found)
  const { name, place } = tables
  throw new MersalError(
    'MERSAL_SCHEMA_TOO_NEW',
    `${name}: the tables ${place} have version ${found}, and this version of mersal knows only ${known}: upgrade mersal here, or give this program a database or a schema of its own`,
    { details: { found, known } },
  )
}

/**
 * Whether steps are to be applied. Throws `MERSAL_SCHEMA_MISSING` if there are some and `mode` says
 * `check`, and `MERSAL_SCHEMA_TOO_NEW`.
 */
export function mustMigrate(
  tables: Tables<NamedStep>,
  found: number,
  mode: 'auto' | 'check',
): boolean {
  if (missingSteps(tables, found).length === 0) return false
  if (mode === 'auto') return true
  const { name, place } = tables
  const needed = newest(tables)
  throw new MersalError(
    'MERSAL_SCHEMA_MISSING',
    `${name}: the tables ${place} have version ${found} of ${needed}: run 'mersal migrate', or open them once with migrate: 'auto' as a user that may create tables`,
    { details: { found, needed } },
  )
}

/** How a dialect writes what surrounds the steps in a text that people run themselves. */
export interface ScriptWords {
  readonly begin: readonly string[]
  /** Makes the place and the list of the steps that have been applied. */
  readonly create: readonly string[]
  /** Notes that the step has been applied. Its name is quoted already. */
  readonly record: (version: number, name: string) => string
  readonly end: readonly string[]
}

export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** The steps after a version as plain SQL, for those who run migrations with tools of their own. */
export function migrationScript({ steps }: Tables, from: number, words: ScriptWords): string {
  const open = steps
    .filter(({ version }) => version > from)
    .map(({ version, name, sql }) => `${sql}\n${words.record(version, quoteText(name))}`)
  const create = from > 0 ? [] : words.create
  return [...words.begin, ...create, ...open, ...words.end, ''].join('\n')
}

export interface SchemaPorts {
  /** The version of the tables; 0: there are none. */
  readonly current: () => Promise<number>
  readonly upgrade: () => Promise<void>
  readonly script: (from: number) => string
}

/** The tables for tools of operators, whatever the option `migrate` says. */
export function schemaControl(tables: Tables<NamedStep>, ports: SchemaPorts): SchemaControl {
  return {
    name: `${tables.name} tables ${tables.place}`,
    async version() {
      const current = await ports.current()
      missingSteps(tables, current)
      return { current, newest: newest(tables) }
    },
    upgrade: ports.upgrade,
    sql: ports.script,
  }
}
