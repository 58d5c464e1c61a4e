using System.Data;
using Dapper;

namespace Slipway.Storage;

/// <summary>A flag is a column of 0 and 1 on both engines; PostgreSQL would not take a boolean for it.</summary>
internal sealed class FlagHandler : SqlMapper.TypeHandler<bool>
{
    public override void SetValue(IDbDataParameter parameter, bool value)
    {
        parameter.DbType = DbType.Int64;
        parameter.Value = value ? 1L : 0L;
    }

    public override bool Parse(object value) => value is bool flag ? flag : Convert.ToInt64(value, System.Globalization.CultureInfo.InvariantCulture) != 0;
}
