/** A time that never comes, of rows that nobody takes before it is changed. */
export const NEVER = `'9999-12-31 00:00:00'`

export const ascii = (type: string): string => `${type} character set ascii collate ascii_bin`

/** Behind the columns of every table. */
export const END = 'engine = InnoDB row_format = dynamic'
