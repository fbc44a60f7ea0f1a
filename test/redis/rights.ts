import { readFileSync } from 'node:fs'

/** The rights that a page lists in its last block with `ACL SETUSER`. */
function rightsIn(page: string): readonly string[] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8')
  const [, list = ''] = /ACL SETUSER mersal ([^`]*)```/.exec(text) ?? []
  return list.split(/\s+/).filter((word) => word.startsWith('+'))
}

export const transportRights: readonly string[] = rightsIn('redis.md')
export const documentRights: readonly string[] = rightsIn('documents.md')
