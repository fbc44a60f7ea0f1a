import type { Exported, Member, Model } from './model.ts'
import { type PagePlan, type PartPlan, typePages } from './plan.ts'
import { prose, shown } from './text.ts'

export type Refusals = ReadonlyMap<string, string | undefined>

/** Types that a caller fills in: every field of theirs says what it takes. */
export const isOptions = ({ kind, name }: Pick<Exported, 'kind' | 'name'>): boolean =>
  kind === 'interface' &&
  (/(?:Options|Config)$/.test(name) || ['Backoff', 'OnceRequest', 'StoreEntry'].includes(name))

/** Every page of types by its file. */
export function pagesOfTypes(model: Model, refusals: Refusals): ReadonlyMap<string, string> {
  const planned = new Set(typePages.flatMap(({ parts }) => parts.map(({ path }) => path)))
  const missing = [...model.keys()].filter((path) => !planned.has(path))
  if (missing.length > 0)
    throw new Error(`scripts/reference/plan.ts has no page for ${missing.join(', ')}`)
  return new Map(typePages.map((plan) => [plan.file, pageOf(plan, model, refusals)]))
}

function pageOf(plan: PagePlan, model: Model, refusals: Refusals): string {
  const several = plan.parts.length > 1
  const parts = plan.parts.flatMap((part) => {
    const shown = namesOf(part, model).map((name) => {
      const exported = model.get(part.path)?.get(name)
      if (exported === undefined) throw new Error(`mersal${part.path.slice(1)} has no ${name}`)
      return sectionOf(exported, several ? '###' : '##', refusals)
    })
    return [...(several ? [`## mersal${part.path.slice(1)}`] : []), ...shown]
  })
  const from = several ? [] : [`Import from \`mersal${plan.parts[0]!.path.slice(1)}\`.`]
  return [`# ${plan.title}`, prose([plan.intro, ...from].join(' ')), ...parts].join('\n\n')
}

/** The order of the sub-path: functions first, each with its options behind it. */
function namesOf({ path, names }: PartPlan, model: Model): readonly string[] {
  if (names !== undefined) return names
  const exports = [...(model.get(path)?.values() ?? [])]
  const taken = new Set(
    typePages.flatMap(({ parts }) =>
      parts.flatMap((part) => (part.path === path ? (part.names ?? []) : [])),
    ),
  )
  const weight = (exported: Exported): number =>
    exported.kind === 'function' || exported.kind === 'class' ? 0 : isOptions(exported) ? 1 : 2
  return exports
    .filter(({ name }) => !taken.has(name))
    .toSorted((a, b) => weight(a) - weight(b) || (a.name < b.name ? -1 : 1))
    .map(({ name }) => name)
}

function sectionOf(exported: Exported, mark: string, refusals: Refusals): string {
  const { name, kind, doc, text, members } = exported
  const title = kind === 'function' ? `${name}()` : name
  const options = isOptions(exported)
  const shown = members.map((member) => {
    if (kind === 'class') return `${partOfClass(member, `${mark}#`)}\n`
    return options ? optionOf(member, refusals.get(`${name}.${member.name}`)) : memberOf(member)
  })
  return [
    `${mark} ${title}`,
    ...(doc === '' ? [] : [prose(doc)]),
    ...(text.length === 0 ? [] : [`\`\`\`ts\n${text.join('\n')}\n\`\`\``]),
    ...(shown.length === 0 ? [] : [shown.join('\n').trim()]),
  ].join('\n\n')
}

const headOf = ({ name, type, method, optional }: Member): string =>
  `${name}${optional ? '?' : ''}${method ? '' : ': '}${type}`

function partOfClass(member: Member, mark: string): string {
  const title = member.method ? `${member.name}()` : member.name
  return [`${mark} ${title}`, `\`\`\`ts\n${headOf(member)}\n\`\`\``, prose(member.doc)].join('\n\n')
}

function memberOf(member: Member): string {
  const head = `- \`${headOf(member)}\``
  return member.doc === '' ? head : prose(`${head}: ${member.doc}`, '  ')
}

function optionOf({ name, type, optional, doc }: Member, refusal: string | undefined): string {
  const head = `- **\`${name}\`**: \`${type}\``
  const needed = optional ? '' : ' Required.'
  const [, code, text] = /^(MERSAL_\w+): (.*)$/s.exec(refusal ?? '') ?? []
  const error =
    refusal === undefined
      ? ''
      : ` Error: ${code === undefined ? '' : `\`${code}\`, `}"${shown(text ?? refusal)}".`
  return prose(`${head}.${needed} ${doc}${error}`, '  ')
}
