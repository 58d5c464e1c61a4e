namespace Slipway.Native.Xgboost;

/// <summary>XGBoost refused a parameter, data or a model; the message is the library's own.</summary>
public sealed class XgboostException : Exception
{
    /// <summary>An empty error.</summary>
    public XgboostException()
    {
    }

    /// <summary>An error with the library's message.</summary>
    public XgboostException(string message)
        : base(message)
    {
    }

    /// <summary>An error with the library's message and the failure beneath it.</summary>
    public XgboostException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
