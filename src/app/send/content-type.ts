/** The charset of a text whose content type names none, and what it contains. */
const UTF8 = ['utf-8', 'utf8', 'us-ascii', 'ascii']

interface ContentType {
  /** `json` of `application/json`, `text/json` and `application/vnd.shop+json`. */
  readonly format: string
  readonly charset: string
}

function parse(text: string): ContentType {
  const [essence = '', ...parameters] = text.toLowerCase().split(';')
  const subtype = essence.trim().split('/')[1] ?? ''
  const charset = parameters
    .map((parameter) => parameter.split('='))
    .find(([name]) => name?.trim() === 'charset')?.[1]
  const given = charset?.trim().replaceAll('"', '') ?? 'utf-8'
  return {
    format: (subtype.split('+').at(-1) ?? '').replace(/^x-/, ''),
    charset: UTF8.includes(given) ? 'utf-8' : given,
  }
}

/**
 * Whether a serializer that writes `own` reads bodies of the content type `given`. A message
 * without one is taken as the serializer's own.
 */
export function reads(own: string, given: string | undefined): boolean {
  if (given === undefined || given.trim() === '' || given === own || own === '') return true
  const [mine, theirs] = [parse(own), parse(given)]
  return mine.format === theirs.format && mine.format !== '' && mine.charset === theirs.charset
}
