import { createHash } from 'node:crypto'

const names = new Map<string, string>()

/**
 * The same text has the same name for all users of a connection: `pg` refuses a name that already
 * stands for another text, without sending anything.
 */
export function statementName(text: string): string {
  let name = names.get(text)
  if (name === undefined) {
    name = `mersal_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`
    names.set(text, name)
  }
  return name
}
